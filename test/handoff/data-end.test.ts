/** A data plane decides by the newest policy, lists and keys of the control plane, and never by half of them. */
import t from 'tap';
import { parseAddress } from '../../gateway/core/address.ts';
import { isDenial } from '../../gateway/core/denial.ts';
import type { Facts } from '../../gateway/core/facts.ts';
import { decide, type Trail } from '../../gateway/decide.ts';
import type { DataEnd } from '../../gateway/handoff/data-end.ts';
import type { Policy } from '../../gateway/policy/policy.ts';
import { address, facts } from '../checks/situation.ts';
import { SeededRandom } from '../patch/seeded-random.ts';
import { GATEWAY_YAML, TENANT_YAML } from '../policy/policy-folder.ts';
import { setControl, until } from './control-stage.ts';
import { folderWith, signToken } from './signed-folder.ts';

const PATCH = 'application/vnd.patchgate.weight-patch';

/** Requests of every kind that a rule could refuse, and some that all rules admit. */
async function corpus(random: SeededRandom, count: number): Promise<readonly Facts[]> {
  const tokens = [
    await signToken({}),
    await signToken({ scope: 'read' }),
    await signToken({ model_id: 'other' }),
    await signToken({ jti: 'revoked' }),
    await signToken({}, '2'),
    'rubbish',
  ];
  const pick = <T>(all: readonly T[]): T => all[random.below(all.length)] as T;
  return Array.from({ length: count }, () => {
    const method = pick(['PUT', 'GET', 'HEAD', 'DELETE']);
    return facts(
      {
        host: pick(['a.example.com', 'a.example.com', 'b.example.com']),
        method,
        path: pick(['/v1/models/vision/patches/s1', '/v1/models/vision/weights', '/v1/models/V', '/x']),
        fields: [...pick([[], ['Authorization', `Bearer ${pick(tokens)}`]]), 'Content-Type', PATCH],
        framing: method === 'PUT' ? { kind: 'length', length: 1000 } : { kind: 'none' },
      },
      { peer: address(pick(['203.0.113.9', '198.51.100.7', '192.0.2.7', '2001:db8::1', '8.8.8.8'])) },
    );
  });
}

async function outcomeOf(policy: Policy, given: Facts): Promise<unknown> {
  const trail: Trail = {};
  const decision = await decide(policy, { ...given, nowMs: Date.now(), tokenNowMs: Date.now() }, trail);
  const told = [trail.tenant?.name, trail.route?.name, trail.tenant?.places.of('allow')];
  if (isDenial(decision)) return [...told, decision.step, decision.code, decision.cause, decision.rule];
  const { route, params, patch, token } = decision;
  return [...told, route.name, route.places.of('require.scope'), params, patch, token?.subject];
}

const has = (end: DataEnd, list: string, text: string): boolean | undefined => {
  const [part] = end.policy().tenants.get('tenant-a')?.lists.get(list)?.parts ?? [];
  const found = parseAddress(text);
  return found && part?.contents?.tree.contains(found);
};

const REVOKING = `${TENANT_YAML}revocation:
  tokens: { file: lists/revoked.txt, entries: ['sub:nobody'] }
`;

t.test('a data plane decides as the control plane would', async (t) => {
  const folder = await folderWith(t, {
    'tenants/tenant-a.yaml': REVOKING,
    'tenants/lists/revoked.txt': '# lost\njti:revoked\n',
  });
  await folder.addTenant('tenant-b', 'c.example.com');
  const stage = await setControl(t, folder.path);
  const plane = await stage.attach();
  const { end } = plane;
  t.equal(end.policy().digest, stage.live.current.digest);
  t.equal(end.policy().generation, 1);
  t.same([...end.policy().serverNames.keys()], [...stage.live.current.serverNames.keys()]);
  const found = new Set<string>();
  for (const each of await corpus(new SeededRandom(3), 400)) {
    const here = await outcomeOf(stage.live.current, each);
    t.same(await outcomeOf(end.policy(), each), here);
    found.add(String((here as unknown[])[4]));
  }
  t.ok(found.size > 6, `the corpus had ${found.size} kinds of outcomes`);
  t.same(plane.faults, []);
});

t.test('a changed tenant is a new object, and the others stay the same', async (t) => {
  const folder = await folderWith(t);
  await folder.addTenant('tenant-b', 'b.example.com');
  const stage = await setControl(t, folder.path);
  const { end, generations, sent } = await stage.attach();
  const before = end.policy();
  const sentBefore = sent();
  await folder.edit('tenants/tenant-b.yaml', '10.1.0.1', '10.1.0.2');
  await stage.reload();
  t.ok(await until(() => end.policy().generation === 2));
  t.equal(sent() - sentBefore, 2, 'one tenant and the policy are sent');
  t.equal(end.policy().tenants.get('tenant-a'), before.tenants.get('tenant-a'));
  const upstream = end.policy().tenants.get('tenant-b')?.upstreams.get('sync');
  t.equal(upstream?.nodes[0]?.host, '10.1.0.2');
  t.equal(before.tenants.get('tenant-b')?.upstreams.get('sync')?.nodes[0]?.host, '10.1.0.1');
  await folder.remove('tenants/tenant-b.yaml');
  await stage.reload();
  t.ok(await until(() => end.policy().tenants.size === 1));
  t.same(generations, [1, 2, 3]);
  t.equal(end.policy().digest, stage.live.current.digest);
});

t.test('the settings of the gateway are handed over too', async (t) => {
  const folder = await folderWith(t, {
    'gateway.yaml': `${GATEWAY_YAML.trimEnd().replace('  admin', '      trustedProxies: [10.0.0.0/8]\n  admin')}\n`,
  });
  const stage = await setControl(t, folder.path);
  const { end } = await stage.attach();
  const [listener] = end.policy().gateway.listeners;
  t.ok(listener?.trustedProxies.contains(address('10.2.3.4')));
  t.same(
    { ...end.policy().gateway, listeners: [] },
    { ...stage.live.current.gateway, listeners: [] },
    'all settings but the prefix trees are equal',
  );
  await folder.edit('gateway.yaml', '10.0.0.0/8', '192.168.0.0/16');
  await stage.reload();
  t.ok(await until(() => end.policy().generation === 2));
  t.notOk(end.policy().gateway.listeners[0]?.trustedProxies.contains(address('10.2.3.4')));
});

t.test('a changed list takes effect at once in an unchanged tenant', async (t) => {
  const folder = await folderWith(t);
  const stage = await setControl(t, folder.path);
  const planes = [await stage.attach(), await stage.attach()];
  for (const { end } of planes) t.ok(has(end, 'partners', '198.51.100.9'));
  const tenants = planes.map(({ end }) => end.policy().tenants.get('tenant-a'));
  const changes = planes.map((plane) => plane.changes());
  await folder.write('tenants/lists/partners.cidr', '\n\n100.64.0.0/10\n');
  await stage.sources.refresh();
  for (const [index, { end, ...plane }] of planes.entries()) {
    t.ok(await until(() => has(end, 'partners', '100.64.1.1')));
    t.notOk(has(end, 'partners', '198.51.100.9'));
    const tenant = end.policy().tenants.get('tenant-a');
    t.equal(tenant, tenants[index], 'the tenant is the same object');
    t.ok(plane.changes() > (changes[index] ?? 0), 'running streams are decided again');
    const contents = tenant?.lists.get('partners')?.parts[0]?.contents;
    t.match(contents?.placeOf(contents.tree.lookup(address('100.64.1.1'))?.number ?? -1), /partners.cidr:3$/);
  }
  await folder.write('tenants/lists/partners.cidr', 'rubbish\n');
  await stage.sources.refresh();
  const part = () => planes[0]?.end.policy().tenants.get('tenant-a')?.lists.get('partners')?.parts[0];
  t.ok(await until(() => part()?.isCurrent === false));
  t.ok(part()?.contents?.tree.contains(address('100.64.1.1')), 'the last good list stays');
});

t.test('a slow data plane gets the newest of everything, and few messages wait for it', async (t) => {
  const folder = await folderWith(t);
  const stage = await setControl(t, folder.path);
  const plane = await stage.attach();
  plane.hold();
  for (let round = 0; round < 12; round++) {
    await folder.write('tenants/lists/partners.cidr', `10.9.${round}.0/24\n`);
    await folder.edit('tenants/tenant-a.yaml', `10.1.0.${round + 1}:`, `10.1.0.${round + 2}:`);
    await stage.reload();
    t.ok(plane.waiting() <= 8, `no more than eight messages wait: ${plane.waiting()}`);
  }
  plane.goOn();
  t.ok(await until(() => plane.end.policy().digest === stage.live.current.digest));
  t.ok(has(plane.end, 'partners', '10.9.11.1'));
  t.notOk(has(plane.end, 'partners', '10.9.10.1'));
  t.ok(plane.generations.length < 6, `only ${plane.generations.length} policies of 13 were needed`);
  t.same(plane.faults, []);
});

t.test('a policy never comes into force without the lists that changed with it', async (t) => {
  const folder = await folderWith(t);
  const stage = await setControl(t, folder.path);
  const plane = stage.begin();
  await plane.end.started;
  let bare = 0;
  for (let round = 0; round < 8; round++) {
    const from = round === 0 ? 'lists/partners.cidr' : `lists/p${round - 1}.cidr`;
    await folder.write(`tenants/lists/p${round}.cidr`, `10.9.${round}.0/24\n`);
    await folder.edit('tenants/tenant-a.yaml', from, `lists/p${round}.cidr`);
    const reloading = stage.reload();
    for (let turn = 0; turn < 50; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (has(plane.end, 'partners', '1.1.1.1') === undefined) bare += 1;
    }
    await reloading;
  }
  t.ok(await until(() => has(plane.end, 'partners', '10.9.7.1')));
  t.equal(bare, 0);
});

t.test('a list that goes and comes back while policies are compiled is there at the end', async (t) => {
  const folder = await folderWith(t);
  const stage = await setControl(t, folder.path);
  const plane = await stage.attach();
  const without = TENANT_YAML.replace('  partners: { file: lists/partners.cidr }\n', '').replace(
    ', partners]',
    ']',
  );
  plane.hold();
  for (const text of [without, TENANT_YAML, without, TENANT_YAML]) {
    await folder.write('tenants/tenant-a.yaml', text);
    await stage.reload();
  }
  plane.goOn();
  t.ok(await until(() => plane.end.policy().digest === stage.live.current.digest));
  await plane.link.settled();
  t.ok(has(plane.end, 'partners', '198.51.100.9'));
  await folder.write('tenants/lists/partners.cidr', '10.9.9.0/24\n');
  await stage.sources.refresh();
  t.ok(await until(() => has(plane.end, 'partners', '10.9.9.1')), 'the list is followed');
});

t.test('a data plane that starts amid changes ends in the same state as the others', async (t) => {
  const folder = await folderWith(t);
  const stage = await setControl(t, folder.path);
  const first = stage.begin();
  first.close();
  await t.rejects(first.end.started);
  const second = stage.begin();
  await folder.write('tenants/lists/partners.cidr', '10.9.9.0/24\n');
  await stage.reload();
  second.close();
  second.end.receive({ kind: 'piece', id: 1, slices: [] });
  second.link.receive({ kind: 'taken' });
  const third = await stage.attach();
  t.ok(await until(() => has(third.end, 'partners', '10.9.9.1')));
  t.equal(third.link.generation ?? 1, 1);
});

t.test('invalid messages are reported as faults and have no other effect', async (t) => {
  const folder = await folderWith(t);
  const stage = await setControl(t, folder.path);
  const { end, link, faults } = await stage.attach();
  const policy = end.policy();
  const slice = { column: 0, at: 0, bytes: new Uint8Array(9) };
  const announced = { kind: 'parcel', id: 99, about: { kind: 'policy' }, head: 0, columns: [], slices: [] };
  const wrong = [
    undefined,
    'policy',
    { kind: 'nobody' },
    { kind: 'piece', id: 4711, slices: [] },
    { ...announced, about: { kind: 'policy', more: 1 } },
    { ...announced, about: { kind: 'nobody' } },
    { ...announced, columns: [{ type: 8, length: 3 }], slices: [slice] },
    { ...announced, columns: [{ type: 8, length: -1 }] },
    { ...announced, about: { kind: 'tenant', name: 'tenant-a', digest: 'x' }, head: {} },
    { ...announced, about: { kind: 'identity', store: 'servers', key: 'x', found: true } },
  ];
  for (const message of wrong) end.receive(message);
  for (const message of [undefined, 7, { kind: 'want', store: '/etc', label: 'x', key: 'x' }])
    link.receive(message);
  for (let excess = 0; excess < 20; excess++) link.receive({ kind: 'taken' });
  t.ok(await until(() => faults.length === 9), faults.join('\n'));
  t.equal(end.policy(), policy);
  await folder.write('tenants/lists/partners.cidr', '10.9.9.0/24\n');
  await stage.sources.refresh();
  t.ok(await until(() => has(end, 'partners', '10.9.9.1')), 'later changes still arrive');
});
