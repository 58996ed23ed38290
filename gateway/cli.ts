#!/usr/bin/env node
/** Runs the command line on this process, and exits with its status. */

import { readFileSync } from 'node:fs';
import type { Terminal } from './commands/command.ts';
import { runCommandLine } from './commands/command-line.ts';

const terminal: Terminal = {
  version: version(),
  workingFolder: process.cwd(),
  write: (text) => void process.stdout.write(text),
  warn: (text) => void process.stderr.write(text),
  isTerminal: process.stdout.isTTY === true,
  colours: process.stdout.isTTY === true && !process.env['NO_COLOR'],
  columns: process.stdout.columns ?? 80,
  onSignal: (name, handler) => void process.on(name, handler),
};

// A reader that went away (`| head`) must not make the command fail: further output is lost.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : '';
}

void runCommandLine(process.argv.slice(2), terminal).then((status) => {
  process.exitCode = status;
});
