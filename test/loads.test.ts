/** What processes load: every module costs memory for as long as they live, even if nothing uses it. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';

/** What this import loads: modules of Node by their ids, packages by their names. */
function loadsOf(file: string): { readonly ofNode: readonly string[]; readonly packages: readonly string[] } {
  const module = new URL(`../gateway/${file}`, import.meta.url).href;
  const script = `
    import { registerHooks } from 'node:module';
    const urls = [];
    registerHooks({ load: (url, context, next) => { urls.push(url); return next(url, context); } });
    await import(${JSON.stringify(module)});
    console.log(JSON.stringify({ urls, ofNode: process.moduleLoadList }));
    process.exit();`;
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const printed = execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd });
  const { urls, ofNode } = JSON.parse(printed.toString()) as { urls: string[]; ofNode: string[] };
  const packages = urls.flatMap((url) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? []);
  return { ofNode, packages: [...new Set(packages)].sort() };
}

const NODES_UNDICI = 'NativeModule internal/deps/undici/undici';
const LOG = [
  '@pinojs/redact',
  'atomic-sleep',
  'on-exit-leak-free',
  'pino',
  'pino-std-serializers',
  'quick-format-unescaped',
  'safe-stable-stringify',
  'sonic-boom',
  'thread-stream',
];

t.test('a worker loads its log, its breaker and its signature verifier, but no policy reader', async (t) => {
  const { packages, ofNode } = loadsOf('workers/worker.ts');
  t.same(packages, [...LOG, 'jose', 'opossum'].sort());
  t.notOk(ofNode.includes(NODES_UNDICI));
});

t.test('a gateway also loads its policy readers, but no client it may not need', async (t) => {
  const { packages, ofNode } = loadsOf('gateway.ts');
  t.same(packages, [...LOG, 'jose', 'opossum', 'yaml', 'zod'].sort());
  t.notOk(ofNode.includes(NODES_UNDICI));
});
