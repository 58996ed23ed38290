/** The Dockerfile builds from the repository, and its result runs without privileges. */
import { existsSync } from 'node:fs';
import t from 'tap';
import { execWords, misuse, readDockerfile, readText, repositoryPath } from './deployed.ts';

const instructions = readDockerfile();
const all = (name: string): readonly string[] =>
  instructions.filter((each) => each.name === name).map(({ text }) => text);
const lastStage = instructions.slice(instructions.findLastIndex(({ name }) => name === 'FROM'));
const inLast = (name: string): readonly string[] =>
  lastStage.filter((each) => each.name === name).map(({ text }) => text);

t.test('the build copies only files of the repository and is sent nothing else', async (t) => {
  const copied = all('COPY')
    .filter((text) => !text.startsWith('--from='))
    .flatMap((text) => text.split(/\s+/).slice(0, -1));
  for (const name of copied) t.ok(existsSync(repositoryPath(name)), name);
  const ignored = readText('.dockerignore').split('\n');
  t.ok(ignored.includes('*'));
  const sent = ignored.filter((line) => line.startsWith('!')).map((line) => line.slice(1));
  t.same(sent.toSorted(), [...new Set(copied)].toSorted());
});

t.test('every stage of the image has the Node of the lock file', async (t) => {
  const lock = JSON.parse(readText('package-lock.json')) as {
    readonly packages: Readonly<Record<string, { readonly version: string }>>;
  };
  const version = lock.packages['node_modules/node']?.version;
  for (const text of all('FROM')) t.match(text, `node:${version}-bookworm-slim`);
});

t.test('only the last stage is shipped, with dist/ and production dependencies', async (t) => {
  t.same(inLast('RUN'), [], 'nothing is installed in the last stage');
  const stages = new Map(all('FROM').map((text, index) => [/ AS (\w+)$/.exec(text)?.[1] ?? '', index]));
  for (const text of inLast('COPY')) {
    const [, from] = /^--from=(\w+)/.exec(text) ?? [];
    if (from !== undefined) t.ok(stages.has(from), from);
  }
  const [modules = ''] = inLast('COPY').filter((text) => text.includes('node_modules'));
  t.match(modules, /^--from=dependencies /);
  t.ok(all('RUN').some((text) => text.startsWith('npm ci --omit=dev ')));
  t.same(inLast('USER'), ['1000:1000']);
  t.same(inLast('STOPSIGNAL'), ['SIGTERM']);
});

t.test('the image runs a valid command line, and its build scripts are in package.json', async (t) => {
  const [entry = '[]'] = inLast('ENTRYPOINT');
  const [command = '[]'] = inLast('CMD');
  t.same(execWords(entry), ['node', '/opt/patchgate/dist/cli.js']);
  t.equal(misuse(execWords(command)), undefined);
  t.match(misuse(['serve', '--nonsense']), /nonsense/, 'an invalid command line is detected');
  const { scripts } = JSON.parse(readText('package.json')) as { readonly scripts: Record<string, string> };
  for (const [, script = ''] of all('RUN').flatMap((text) => [...text.matchAll(/npm run (\w+)/g)]))
    t.ok(scripts[script], script);
});
