/** The proxies that patchgate is compared with, each in one process; those not installed are skipped and reported. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { haproxyConfig } from './haproxy.ts';
import { nginxConfig } from './nginx.ts';
import { freePort, type Side, untilListening, type Yard } from './yard.ts';

export type RivalName = 'HAProxy' | 'HAProxy, mTLS only' | 'nginx' | 'http-proxy' | '@fastify/http-proxy';

/** A running rival. */
export interface Rival extends Side {
  readonly name: RivalName;
  /** Its version, and that of its OpenSSL or Node. */
  readonly version: string;
}

export interface Rivals {
  readonly running: readonly Rival[];
  /** Why the others do not run. */
  readonly skipped: readonly string[];
}

/** How to start a rival on a port, and the message if it is not installed. */
interface Recipe {
  readonly name: RivalName;
  version(packages: string): string | undefined;
  readonly missing: string;
  command(yard: Yard, port: number, packages: string): Promise<readonly [string, ...string[]]>;
}

const script = (name: string): string => new URL(name, import.meta.url).pathname;

const recipes: readonly Recipe[] = [
  haproxy('HAProxy', true),
  haproxy('HAProxy, mTLS only', false),
  {
    name: 'nginx',
    version: () => {
      const told = said('nginx', ['-V']);
      const version = match(told, /nginx\/(\S+)/);
      const openssl = match(told, /running with OpenSSL (\S+)/) ?? match(told, /built with OpenSSL (\S+)/);
      return version && `${version} (OpenSSL ${openssl})`;
    },
    missing: 'nginx is not installed (Debian: nginx)',
    command: async ({ folder, nodePort }, port) => {
      const file = join(folder, 'nginx.conf');
      await writeFile(file, nginxConfig({ folder, port, nodePort }));
      return ['nginx', '-c', file, '-p', folder];
    },
  },
  {
    name: 'http-proxy',
    version: () => {
      const version = packageVersion(import.meta.dirname, 'http-proxy');
      return version && `${version} (Node ${process.versions.node})`;
    },
    missing: 'http-proxy is not installed',
    command: async (yard, port) => nodeCommand('http-proxy-rival.ts', yard, port),
  },
  {
    name: '@fastify/http-proxy',
    version: (packages) => {
      const version = packageVersion(packages, '@fastify/http-proxy');
      return (
        version &&
        `${version} (fastify ${packageVersion(packages, 'fastify')}, Node ${process.versions.node})`
      );
    },
    missing: '@fastify/http-proxy is not installed (see --rivals)',
    command: async (yard, port, packages) => [...nodeCommand('fastify-rival.ts', yard, port), packages],
  },
];

function haproxy(name: RivalName, policy: boolean): Recipe {
  return {
    name,
    version: () => {
      const told = said('haproxy', ['-vv']);
      const version = match(told, /version (\d[\d.]*)/);
      return version && `${version} (OpenSSL ${match(told, /Running on OpenSSL version : OpenSSL (\S+)/)})`;
    },
    missing: `${name}: haproxy is not installed (Debian: haproxy)`,
    command: async ({ folder, nodePort }, port) => {
      const file = join(folder, `haproxy-${policy ? 'policy' : 'plain'}.cfg`);
      await writeFile(file, haproxyConfig({ folder, port, nodePort, policy }));
      return ['haproxy', '-db', '-f', file];
    },
  };
}

function nodeCommand(name: string, yard: Yard, port: number): [string, ...string[]] {
  return [process.execPath, script(name), String(port), String(yard.nodePort), yard.certificates];
}

/** Returns everything a command prints, or an empty text if there is no such command. */
function said(command: string, words: readonly string[]): string {
  const { stdout, stderr } = spawnSync(command, words, { encoding: 'utf8' });
  return `${stdout ?? ''}${stderr ?? ''}`;
}

function match(text: string, pattern: RegExp): string | undefined {
  return pattern.exec(text)?.[1];
}

function packageVersion(folder: string, name: string): string | undefined {
  const places = createRequire(resolve(folder, 'package.json')).resolve.paths(name) ?? [];
  for (const place of places) {
    try {
      return (JSON.parse(readFileSync(join(place, name, 'package.json'), 'utf8')) as { version: string })
        .version;
    } catch {}
  }
  return undefined;
}

/** Starts those that are installed. `packages` is a folder whose `node_modules` may contain `@fastify/http-proxy`. */
export async function openRivals(
  yard: Yard,
  wanted: readonly RivalName[],
  packages: string,
): Promise<Rivals> {
  const running: Rival[] = [];
  const skipped: string[] = [];
  for (const recipe of recipes.filter(({ name }) => wanted.includes(name))) {
    const version = recipe.version(packages);
    if (version === undefined) skipped.push(recipe.missing);
    else running.push(await start(recipe, version, yard, packages));
  }
  return { running, skipped };
}

async function start(recipe: Recipe, version: string, yard: Yard, packages: string): Promise<Rival> {
  const port = await freePort();
  const [command, ...words] = await recipe.command(yard, port, packages);
  const log = await open(join(yard.folder, `rival-${port}.log`), 'w');
  const child: ChildProcess = spawn(command, words, { stdio: ['ignore', log.fd, 'pipe'] });
  yard.children.push(child);
  await untilListening(child, port);
  await log.close();
  return { name: recipe.name, version, pid: child.pid ?? 0, port };
}
