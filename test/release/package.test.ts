/** The package is complete, holds nothing else, and works where npm has installed it. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { newFolder } from '../new-folder.ts';
import { billOfMaterials, install, pack, tryInstalled } from './package.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as {
  readonly version: string;
  readonly bin: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
};

t.test('the package that npm packs is complete and works once installed', async (t) => {
  const folder = await newFolder(t);
  const packed = pack(folder);

  await t.test(
    'dist/ has every module with its types, beside schemas, format, policies and deploy/',
    async (t) => {
      const sources = readdirSync(`${root}gateway`, { recursive: true, encoding: 'utf8' });
      for (const name of sources.filter((each) => each.endsWith('.ts'))) {
        t.ok(packed.files.includes(`dist/${name.replace(/\.ts$/, '.js')}`), name);
        t.ok(packed.files.includes(`dist/${name.replace(/\.ts$/, '.d.ts')}`), name);
      }
      const built = packed.files.filter((file) => file.startsWith('dist/'));
      t.equal(
        built.length,
        2 * sources.filter((each) => each.endsWith('.ts')).length,
        'nothing of older builds is in it',
      );
      for (const file of [
        ...['README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md', 'gateway/patch/WPF1.md'],
        ...['policies/gateway.yaml', 'policies/schema/gateway.json', 'policies/schema/tenant.json'],
        ...['deploy/alerts.yml', 'deploy/grafana/dashboards/patchgate.json', 'deploy/patchgate.service'],
        ...Object.values(manifest.bin),
      ])
        t.ok(packed.files.includes(file), file);
    },
  );

  await t.test('the package holds no key, no test and nothing made on this machine', async (t) => {
    const wrong = /^(?:test|certs|node_modules|deploy\/made)\/|\.(?:pem|jwk|token|tgz)$|^\.|\.test\.ts$/;
    t.same(
      packed.files.filter((file) => wrong.test(file)),
      [],
    );
  });

  await t.test('the package installed by npm checks, serves, pushes and pulls', async (t) => {
    const { version, check, push, pull, isSame } = await tryInstalled(folder, install(folder, packed));
    t.equal(version, `patchgate ${manifest.version}`);
    t.match(check, /2 tenants, \d+ routes, no faults$/);
    t.match(push, /^version 1: \d+ weights changed/m);
    t.match(pull, /^version 1: /m);
    t.ok(isSame);
  });
});

t.test('the bill of materials lists exactly what runs, with the versions of the lock file', async (t) => {
  const { sbom } = billOfMaterials(await newFolder(t));
  t.equal(sbom.bomFormat, 'CycloneDX');
  const { packages } = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly version: string; readonly dev?: true }>>;
  };
  const locked = Object.entries(packages)
    .filter(([path, { dev }]) => path !== '' && dev !== true)
    .map(([path, { version }]) => `${path.replace(/^.*node_modules\//, '')}@${version}`);
  t.same(sbom.components.map((each) => each['bom-ref'].replace(/^.*\|/, '')).toSorted(), locked.toSorted());
  t.ok(locked.length > Object.keys(manifest.dependencies).length);
});
