/** The documents agree with the code. */
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { formatFault } from '../gateway/core/fault.ts';
import { writeDevelopmentPki } from '../gateway/demo/development-pki.ts';
import { createTokenIssuer } from '../gateway/demo/token.ts';
import { loadPolicy } from '../gateway/policy/load.ts';
import { policyFiles } from '../gateway/policy/schema.ts';
import { chart } from './bench/chart.ts';
import { chartPath, readResults } from './bench/results.ts';
import {
  examples,
  exampleText,
  markedTables,
  readmePath,
  schemaPath,
  schemaText,
  shownExamples,
  tablePaths,
  tables,
} from './documents.ts';
import { drawnSteps, madeSteps, STEP_OF_ROW } from './request-drawing.ts';

const readme = readFileSync(readmePath, 'utf8');
const folder = (name: string): string => fileURLToPath(new URL(`../${name}`, import.meta.url));

t.test('every table of the documents is the one of the code (npm run documents writes them)', async (t) => {
  const marked = markedTables(tablePaths.map((path) => readFileSync(path, 'utf8')).join('\n'));
  t.same([...marked.keys()].sort(), Object.keys(tables).sort());
  for (const [name, body] of marked) t.equal(body, tables[name], name);
});

t.test('the chart of the README is drawn from the figures beside it', async (t) => {
  const results = readResults();
  t.equal(readFileSync(chartPath, 'utf8'), chart(results));
  t.match(readme, '](test/bench/results.svg)');
  for (const { name, rivals } of results.loads)
    for (const { name: rival, ratio } of rivals)
      t.ok(ratio.min <= ratio.median && ratio.median <= ratio.max, `${name}, ${rival}`);
});

t.test('the schema files are those of the code', async (t) => {
  for (const kind of policyFiles) t.equal(readFileSync(schemaPath(kind), 'utf8'), schemaText(kind), kind);
});

t.test(
  'the drawing of the request has every step with the statuses it refuses with, and no others',
  async (t) => {
    const made = madeSteps();
    const drawn = drawnSteps(readme).filter(({ name }) => STEP_OF_ROW.has(name));
    t.same(
      drawn.map(({ name }) => name),
      [...STEP_OF_ROW.keys()],
    );
    for (const [step, { statuses, unexplained }] of made) {
      const rows = drawn.filter(({ name }) => STEP_OF_ROW.get(name) === step);
      t.same([...new Set(rows.flatMap((row) => row.statuses))].sort(), statuses, step);
      t.same(unexplained, [], step);
    }
  },
);

t.test(
  'the drawing of the request names files that are there, and at each step one that refuses',
  async (t) => {
    const made = madeSteps();
    for (const { name, files } of drawnSteps(readme)) {
      t.ok(files.length > 0, name);
      for (const file of files) t.ok(existsSync(folder(`gateway/${file}`)), file);
      const step = STEP_OF_ROW.get(name);
      if (step !== undefined)
        t.ok(
          files.some((file) => made.get(step)?.files.has(file)),
          `${name} is refused there`,
        );
    }
  },
);

t.test('the README shows the output that its commands print', async (t) => {
  const shown = shownExamples(readme);
  t.same([...shown.keys()], Object.keys(examples));
  for (const [name, text] of shown) t.equal(text, exampleText(name), name);
});

t.test('the shipped policies have no fault', async (t) => {
  const place = t.testdir({});
  cpSync(folder('policies'), join(place, 'policies'), { recursive: true });
  await writeDevelopmentPki(join(place, 'certs'));
  const { policy, faults } = await loadPolicy(join(place, 'policies'), Date.now());
  t.same(faults.map(formatFault), []);
  t.same([...(policy?.tenants.keys() ?? [])], ['tenant-a', 'tenant-b']);
});

t.test('the example tenant of the README has no fault', async (t) => {
  const [, yaml = ''] = /```yaml\n# policies\/tenants\/tenant-c\.yaml\n([\s\S]*?)```/.exec(readme) ?? [];
  const place = t.testdir({});
  const pki = await writeDevelopmentPki(join(place, 'certs'));
  t.ok(pki);
  const tenants = join(place, 'policies', 'tenants');
  await mkdir(join(tenants, 'keys'), { recursive: true });
  const { jwks } = await createTokenIssuer();
  await writeFile(join(tenants, 'keys', 'main.jwks.json'), JSON.stringify(jwks));
  await writeFile(
    join(place, 'policies', 'gateway.yaml'),
    'gateway: { listeners: [{ name: edge, address: 127.0.0.1:0 }] }\n',
  );
  await writeFile(
    join(tenants, 'tenant-c.yaml'),
    yaml.replaceAll('tenant-c.example.com', 'tenant-a.example.com'),
  );
  const { policy, faults } = await loadPolicy(join(place, 'policies'), Date.now());
  t.same(faults.map(formatFault), []);
  t.equal(policy?.tenants.get('tenant-c')?.routes.entries.length, 2);
});

t.test('every file and folder the documents link to exists', async (t) => {
  for (const document of ['README.md', 'CONTRIBUTING.md', 'SECURITY.md']) {
    const text = readFileSync(folder(document), 'utf8');
    for (const [, target = ''] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g))
      t.ok(existsSync(folder(target)), target);
  }
});

t.test('every claim of SECURITY.md links to a test that exists under this title', async (t) => {
  const links = [...readFileSync(folder('SECURITY.md'), 'utf8').matchAll(/\[([^\]]+)\]\((test\/[^)]+)\)/g)];
  t.ok(links.length > 30);
  for (const [, title = '', file = ''] of links) {
    if (file.endsWith('.test.ts')) t.ok(readFileSync(folder(file), 'utf8').includes(title), title);
  }
});

t.test('the map of CONTRIBUTING names every folder and file at the top of gateway/', async (t) => {
  const { readdirSync } = await import('node:fs');
  const map = readFileSync(folder('CONTRIBUTING.md'), 'utf8');
  for (const entry of readdirSync(folder('gateway'), { withFileTypes: true })) {
    t.match(map, entry.isDirectory() ? `${entry.name}/` : entry.name);
  }
});
