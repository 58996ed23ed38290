/** The gateway as installed: `dist/`, built from these sources before anything is measured. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Builds `dist/`. Throws if the sources do not compile. */
export function buildShipped(): void {
  rmSync(join(ROOT, 'dist'), { recursive: true, force: true });
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdio: 'inherit' });
}

/** Runs the gateway in `folder` with its `policies`. Resolves when the gateway is up. */
export async function serve(
  folder: string,
  children: ChildProcess[],
): Promise<{ readonly pid: number; readonly admin: string }> {
  const child = spawn(process.execPath, [join(ROOT, 'dist/cli.js'), 'serve', '--config', 'policies'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  children.push(child);
  const text = await untilPrinted(child, 'the gateway is up');
  const [, admin = ''] = /"admin":"([^"]+)"/.exec(text) ?? [];
  return { pid: child.pid ?? 0, admin: `http://${admin}` };
}

function untilPrinted(child: ChildProcess, words: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stderr?.on('data', (piece: Buffer) => {
      text += piece.toString();
      if (text.includes(words)) resolve(text);
    });
    child.once('exit', () => reject(new Error(`process ended before it printed "${words}":\n${text}`)));
  });
}
