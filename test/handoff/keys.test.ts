/** The control plane fetches the keys of issuers for every data plane. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { TENANT_YAML } from '../policy/policy-folder.ts';
import { setControl, until } from './control-stage.ts';
import { folderWith, JWKS, jwksOf, signToken } from './signed-folder.ts';

t.test('only the control plane fetches keys of an issuer, even if a token asks for others', async (t) => {
  let jwks = JWKS;
  let fetches = 0;
  const issuer = createServer((_, response) => {
    fetches += 1;
    response.end(jwks);
  });
  await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
  t.teardown(() => issuer.close());
  const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/`;
  const folder = await folderWith(t, {
    'tenants/tenant-a.yaml': TENANT_YAML.replace('file: keys/main.jwks.json', `jwks: '${url}'`),
  });
  const stage = await setControl(t, folder.path);
  const planes = [await stage.attach(), await stage.attach()];
  const keysOf = ({ end }: (typeof planes)[number]) => end.policy().tenants.get('tenant-a')?.issuers[0]?.keys;
  const verify = async (plane: (typeof planes)[number], kid: string) =>
    keysOf(plane)?.verify(await signToken({}, kid), ['ES256']);
  for (const plane of planes) t.match(await verify(plane, '1'), { kind: 'verified' });
  t.equal(fetches, 1);
  const versions = planes.map((plane) => keysOf(plane)?.version);
  jwks = await jwksOf('2');
  const [first, second] = planes;
  if (first === undefined || second === undefined) throw new Error('no planes');
  t.match(
    await verify(first, '2'),
    { kind: 'refused', unknownKey: true },
    'within the cooldown of the fetch the new key is unknown',
  );
  t.match(await verify(second, '2'), { kind: 'refused', unknownKey: true });
  t.equal(fetches, 1, 'asking in vain causes no fetch');
  for (let again = 0; again < 20; again++) await verify(first, '2');
  t.equal(first.questions(), 1, 'the question is not repeated before an answer could help');
  const [set] = stage.sources.keys.sets.values();
  await set?.fetch();
  for (const plane of planes) {
    t.ok(
      await until(() => keysOf(plane)?.version !== versions[planes.indexOf(plane)]),
      'the new keys arrive',
    );
    t.match(await verify(plane, '2'), { kind: 'verified' });
    t.match(await verify(plane, '1'), { kind: 'refused' });
  }
  jwks = 'rubbish';
  await set?.fetch();
  t.match(await verify(first, '2'), { kind: 'verified' }, 'the last good keys stay');
  t.equal(fetches, 3);
});
