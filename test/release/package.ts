/** The package as npm makes it, and as it works where npm has installed it. */

import type { ChildProcess } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeDemoPolicy } from '../../gateway/demo/demo-policy.ts';
import { runPlainly, startPlainly } from '../commands/plain-process.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface Packed {
  /** The path of the tarball. */
  readonly path: string;
  readonly version: string;
  /** Its files, relative to the folder of the package. */
  readonly files: readonly string[];
}

/** Builds `dist/` and puts the tarball into the folder. */
export function pack(folder: string): Packed {
  const printed = runPlainly(['npm', 'pack', '--silent', '--json', '--pack-destination', folder], {
    cwd: ROOT,
  });
  const [made] = JSON.parse(printed.slice(printed.indexOf('[\n'))) as readonly {
    readonly filename: string;
    readonly version: string;
    readonly files: readonly { readonly path: string }[];
  }[];
  if (made === undefined) throw new Error(printed);
  const { filename, version, files } = made;
  return { path: join(folder, filename), version, files: files.map(({ path }) => path) };
}

/** Installs the tarball with its dependencies in the folder and returns the command. */
export function install(folder: string, { path }: Packed): string {
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  runPlainly(['npm', 'install', '--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', path], {
    cwd: folder,
  });
  return join(folder, 'node_modules', '.bin', 'patchgate');
}

/** The outcome of a run of the installed package. */
export interface Tried {
  readonly version: string;
  readonly check: string;
  readonly push: string;
  readonly pull: string;
  /** Whether the pulled weights are those pushed, byte for byte. */
  readonly isSame: boolean;
}

/** Checks and serves a policy and pushes and pulls a model, all with the installed command; throws on failure. */
export async function tryInstalled(folder: string, patchgate: string): Promise<Tried> {
  const children: ChildProcess[] = [];
  const run = (...words: readonly string[]): string => runPlainly([patchgate, ...words], { cwd: folder });
  const start = (pattern: RegExp, ...words: readonly string[]): Promise<string> => {
    const child = startPlainly([patchgate, ...words], { cwd: folder });
    children.push(child);
    return untilPrinted(child, pattern);
  };
  try {
    const version = run('--version').trim();
    run('demo', '--prepare', 'made');
    const at = (...names: readonly string[]): string => join(folder, 'made', ...names);
    const node = await start(
      /sync node at (\S+),/,
      'node',
      '--root',
      at('nodes', 'sync-1'),
      '--listen',
      '127.0.0.1:0',
    );
    await writeDemoPolicy(at('policies'), {
      certificatesFolder: at('certs'),
      jwks: JSON.parse(readFileSync(at('keys', 'main.jwks.json'), 'utf8')),
      nodes: { 'tenant-a': node, 'tenant-b': node },
    });
    const check = run('check', '--config', 'made/policies').trim();
    const edge = await start(/"edge":"([^"]+)"/, 'serve', '--config', 'made/policies');
    const caller = [
      ...['--model', 'topics', '--connect', edge, '--token', `@${at('callers', 'tenant-a.token')}`],
      ...['--ca', at('certs', 'dev', 'ca.pem'), '--cert', at('certs', 'dev', 'tenant-a', 'worker.pem')],
      ...['--key', at('certs', 'dev', 'tenant-a', 'worker-key.pem')],
    ];
    const url = `https://tenant-a.example.com:${edge.split(':').at(-1)}`;
    const [base, target] = [0, 1].map((epoch) => at('models', `epoch-${epoch}.safetensors`)) as [
      string,
      string,
    ];
    const push = run('push', '--to', url, '--base', base, '--target', target, ...caller);
    const pull = run('pull', '--from', url, '--out', 'pulled.safetensors', ...caller);
    const isSame = readFileSync(join(folder, 'pulled.safetensors')).equals(readFileSync(target));
    return { version, check, push, pull, isSame };
  } finally {
    for (const child of children) child.kill('SIGKILL');
  }
}

/** Waits for output that matches the pattern and returns its first group. */
function untilPrinted(child: ChildProcess, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const hear = (piece: Buffer): void => {
      text += piece.toString();
      const [, found] = pattern.exec(text) ?? [];
      if (found !== undefined) resolve(found);
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    child.once('exit', () => reject(new Error(`ended before it said ${pattern}:\n${text}`)));
  });
}

interface Sbom {
  readonly bomFormat: string;
  /** Its reference has the form `name@version`. */
  readonly components: readonly { readonly 'bom-ref': string }[];
}

/**
 * What the package runs on, as CycloneDX text and parsed. It is made from a tree of production dependencies alone, since
 * `npm sbom --omit dev` also omits those that development dependencies share (npm 11.19).
 */
export function billOfMaterials(folder: string): { readonly text: string; readonly sbom: Sbom } {
  // The component is named after its folder.
  const cwd = join(folder, 'patchgate');
  mkdirSync(cwd);
  for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(ROOT, name), join(cwd, name));
  const install = [
    'npm',
    'ci',
    '--omit=dev',
    '--prefer-offline',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
  ];
  runPlainly(install, { cwd });
  runPlainly(['npm', 'pkg', 'delete', 'devDependencies'], { cwd });
  const text = runPlainly(['npm', 'sbom', '--sbom-format', 'cyclonedx', '--sbom-type', 'application'], {
    cwd,
  });
  return { text, sbom: JSON.parse(text) as Sbom };
}
