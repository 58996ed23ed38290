/** A data plane is told what it lacks, in an order in which everything comes after what it depends on. */
import t, { type Test } from 'tap';
import type { PolicyHead } from '../../gateway/handoff/data-end.ts';
import type { Outgoing } from '../../gateway/handoff/identity-desk.ts';
import { Ledger } from '../../gateway/handoff/ledger.ts';
import { createAuthorities, TENANT_YAML, writePolicyFolder } from '../policy/policy-folder.ts';
import { setControl } from './control-stage.ts';

const authorities = await createAuthorities();
const LISTS = 5;

/** A tenant whose lists are in separate files for each version. */
function versionYaml(version: number): string {
  const lists = Array.from({ length: LISTS }, (_, n) => `  l${n}: { file: lists/v${version}-${n}.cidr }\n`);
  return TENANT_YAML.replace('addresses:\n', `addresses:\n${lists.join('')}`);
}

async function setLedger(t: Test) {
  const folder = await writePolicyFolder(t, authorities);
  const { live, sources, forms, reload } = await setControl(t, folder.path);
  return {
    live,
    ledger: new Ledger({ policy: () => live.current, forms, sources }),
    put: async (version: number): Promise<void> => {
      for (let n = 0; n < LISTS; n++)
        await folder.write(`tenants/lists/v${version}-${n}.cidr`, `10.${version}.${n}.0/24\n`);
      await folder.write('tenants/tenant-a.yaml', versionYaml(version));
      await reload();
    },
  };
}

const kindsOf = (told: readonly Outgoing[]): readonly string[] => told.map(({ about }) => about.kind);
const generationsOf = (told: readonly Outgoing[]): readonly number[] =>
  told.flatMap(({ about, parcel }) =>
    about.kind === 'policy' ? (parcel.head as PolicyHead).generation : [],
  );

t.test('lists and keys come first, then tenants, the policy and removals, each once', async (t) => {
  const { ledger, put } = await setLedger(t);
  t.same(kindsOf([...ledger.differences()]), ['list', 'list', 'tenant', 'policy']);
  t.same([...ledger.differences()], []);
  await put(1);
  const lists = Array.from({ length: LISTS }, () => 'list');
  t.same(kindsOf([...ledger.differences()]), [...lists, 'tenant', 'policy']);
  await put(2);
  const told = [...ledger.differences()];
  t.same(kindsOf(told), [...lists, 'tenant', 'policy', 'gone']);
  t.match(told.at(-1)?.about, { keys: [], lists: Array.from({ length: LISTS }, () => /v1-\d\.cidr$/) });
  t.same([...ledger.differences()], []);
});

t.test('a policy that is replaced while its lists are being sent is skipped', async (t) => {
  const { ledger, live, put } = await setLedger(t);
  t.same(generationsOf([...ledger.differences()]), [1]);
  await put(1);
  const second = ledger.differences();
  const told = [second.next().value, second.next().value].filter((each) => each !== undefined);
  t.same(kindsOf(told), ['list', 'list']);
  await put(2);
  t.equal(live.current.generation, 3);
  t.same(generationsOf([...second]), []);
  t.same(generationsOf([...ledger.differences()]), [3]);
});

t.test('the loss of a source is reported without the contents of its list', async (t) => {
  const { ledger, live } = await setLedger(t);
  Array.from(ledger.differences());
  const [part] = live.current.tenants.get('tenant-a')?.lists.get('partners')?.parts ?? [];
  Object.getPrototypeOf(part).onFault.call(part, 'cannot be read: EIO');
  t.match(
    [...ledger.differences()],
    [{ about: { kind: 'list', has: 'same', isCurrent: false }, parcel: { columns: [] } }],
  );
});
