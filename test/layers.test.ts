/** Imports go one way, floor by floor, so that a lower floor can be understood without those above it. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const root = fileURLToPath(new URL('../gateway', import.meta.url));

/** Parts on one floor do not know each other. A part is a folder, or a file at the top. */
const floors: readonly (readonly string[])[] = [
  ['core', 'net', 'sources', 'tidy-heap.ts'],
  ['lists'],
  ['keys'],
  ['policy', 'patch', 'observe', 'audit', 'http1'],
  ['checks', 'certificates', 'limits'],
  ['decide.ts', 'refuse.ts', 'open-logs.ts', 'edge', 'relay', 'sync-node', 'push', 'handoff'],
  ['stream', 'explain'],
  ['exchange.ts', 'policy-test'],
  ['data-plane.ts'],
  ['policy-follower.ts'],
  ['control-plane.ts'],
  ['own-plane.ts', 'workers'],
  ['gateway.ts'],
  ['commands', 'demo'],
  ['cli.ts'],
];
/** `demo` is one of the commands, so this import crosses its floor. */
const crossings: ReadonlySet<string> = new Set(['commands -> demo']);

const floorOf = new Map(floors.flatMap((parts, floor) => parts.map((part) => [part, floor] as const)));

function sources(): string[] {
  const entries = readdirSync(root, { recursive: true, encoding: 'utf8' });
  return entries.filter((name) => name.endsWith('.ts'));
}

const partOf = (file: string): string => file.split('/')[0] ?? file;

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found = [...text.matchAll(/(?:from|import)\s*\(?'(\.[^']+)'/g)];
  return found.map(([, path = '']) => relative(root, normalize(join(root, dirname(file), path))));
}

t.test('every file belongs to a floor', async (t) => {
  const lost = sources().filter((file) => !floorOf.has(partOf(file)));
  t.same(lost, []);
});

t.test('a file imports only its own part and lower floors', async (t) => {
  const wrong: string[] = [];
  for (const file of sources()) {
    const from = partOf(file);
    for (const target of importsOf(file)) {
      const to = partOf(target);
      const below = (floorOf.get(to) ?? Number.POSITIVE_INFINITY) < (floorOf.get(from) ?? 0);
      if (to !== from && !below && !crossings.has(`${from} -> ${to}`)) wrong.push(`${file} -> ${target}`);
    }
  }
  t.same(wrong, []);
});

t.test('core is pure and imports nothing that reads, writes or waits', async (t) => {
  const allowed = new Set(['ipaddr.js', 'node:net']);
  const wrong = sources()
    .filter((file) => partOf(file) === 'core')
    .flatMap((file) => {
      const text = readFileSync(join(root, file), 'utf8');
      const modules = [...text.matchAll(/from '([^.][^']*)'/g)].map(([, name = '']) => name);
      const impure = modules.filter((name) => !allowed.has(name));
      return [...impure, ...(/\b(?:Date\.now|performance\.|process\.)/.exec(text) ?? [])].map(
        (what) => `${file}: ${what}`,
      );
    });
  t.same(wrong, []);
});

t.test('only the two files where processes begin touch the process', async (t) => {
  const users = sources().filter((file) =>
    /(?<![-\w])process\.\w/.test(readFileSync(join(root, file), 'utf8')),
  );
  t.same(users, ['cli.ts', 'workers/worker-entry.ts']);
});

t.test('the command line loads no package before it knows the command', async (t) => {
  const loaded = new Set(['cli.ts']);
  const packages: string[] = [];
  for (const file of loaded) {
    const text = readFileSync(join(root, file), 'utf8');
    for (const [, name = ''] of text.matchAll(/^(?:import|export) (?!type )[\w\s{},*]*'([^']+)';$/gm)) {
      if (name.startsWith('.')) loaded.add(join(dirname(file), name));
      else if (!name.startsWith('node:')) packages.push(`${file}: ${name}`);
    }
  }
  t.ok(loaded.has('commands/serve.ts'));
  t.same(packages, []);
});

t.test('files are at most 300 lines', async (t) => {
  const long = sources().filter((file) => readFileSync(join(root, file), 'utf8').split('\n').length > 301);
  t.same(long, []);
});
