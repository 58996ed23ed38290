/** Identities are read on demand and again when their files change; a bad folder affects its own name alone. */
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type IdentityReading, IdentityStore } from '../../gateway/certificates/identity-store.ts';
import { missingFolders } from '../../gateway/certificates/missing-folders.ts';
import { type ServerIdentity, serverIdentitySource } from '../../gateway/certificates/server-identity.ts';
import { formatFault } from '../../gateway/core/fault.ts';
import { createAuthority } from '../../gateway/demo/pki.ts';
import { FileWatch } from '../../gateway/sources/file-watch.ts';

const servers = await createAuthority('servers');
const clients = await createAuthority('clients');
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Setting {
  readonly store: IdentityStore<ServerIdentity>;
  readonly folder: string;
  readonly readings: IdentityReading[];
  get(serverName: string): Promise<ServerIdentity | undefined>;
  write(serverName: string, files?: Readonly<Record<string, string>>): Promise<void>;
}

function setStore(t: Test, capacity = 100): Setting {
  const folder = t.testdir({});
  const watch = new FileWatch({ settleMs: 10 });
  const readings: IdentityReading[] = [];
  const store = new IdentityStore<ServerIdentity>({
    capacity: () => capacity,
    watch,
    patienceMs: 100,
    onReading: (reading) => readings.push(reading),
  });
  t.teardown(() => {
    store.close();
    watch.close();
  });
  return {
    store,
    folder,
    readings,
    get: async (serverName) => store.get(serverIdentitySource(folder, serverName, true)),
    write: async (serverName, files) => {
      const at = join(folder, serverName.replace('*.', '_.'));
      await mkdir(at, { recursive: true });
      for (const [name, text] of Object.entries(files ?? (await filesOf(serverName)))) {
        await writeFile(join(at, name), text);
      }
    },
  };
}

async function filesOf(serverName: string): Promise<Record<string, string>> {
  const server = await servers.issueServer({ dnsNames: [serverName] });
  return {
    'chain.pem': server.certificatePem,
    'key.pem': server.privateKeyPem,
    'clients.pem': clients.certificatePem,
  };
}

async function until(isSo: () => boolean): Promise<boolean> {
  for (let waits = 0; waits < 400 && !isSo(); waits += 1) await sleep(5);
  return isSo();
}

t.test('concurrent requests cause one read, and later ones get the same object', async (t) => {
  const { get, write, readings } = setStore(t);
  await write('a.test');
  const all = await Promise.all(Array.from({ length: 50 }, () => get('a.test')));
  t.equal(new Set(all).size, 1);
  t.match(all[0], { serverName: 'a.test' });
  t.equal(await get('a.test'), all[0]);
  t.same(
    readings.map(({ outcome }) => outcome),
    ['loaded'],
  );
});

t.test('a changed pair comes into force, and half a pair waits without a fault', async (t) => {
  const { get, write, readings, store } = setStore(t);
  await write('a.test');
  const before = await get('a.test');
  const next = await filesOf('a.test');
  await write('a.test', { 'chain.pem': next['chain.pem'] ?? '' });
  await sleep(60);
  t.equal(await get('a.test'), before, 'the old identity stays while the new chain does not fit the old key');
  t.same(store.faults, []);
  await write('a.test', { 'key.pem': next['key.pem'] ?? '' });
  t.ok(await until(() => readings.length === 2));
  t.match(readings[1], { outcome: 'replaced' });
  t.not((await get('a.test'))?.digest, before?.digest);
});

t.test(
  'a change that stays wrong is reported, and the last good identity stays until the files are mended',
  async (t) => {
    const { get, write, readings, store } = setStore(t);
    await write('a.test');
    const before = await get('a.test');
    const good = await filesOf('a.test');
    await write('a.test', { ...good, 'clients.pem': 'nothing' });
    t.ok(await until(() => readings.length === 2));
    t.match(store.faults.map(formatFault), [
      /a\.test\/clients\.pem:1:1: contains something other than complete certificates/,
    ]);
    t.equal(await get('a.test'), before);
    await write('a.test', good);
    t.ok(await until(() => readings.length === 3));
    t.match(readings[2], { outcome: 'replaced' });
    t.same(store.faults, []);
  },
);

t.test('a folder that is bad from the start gives nothing and affects no other', async (t) => {
  const { get, write, store } = setStore(t);
  await write('a.test');
  await write('b.test', { 'chain.pem': 'nothing' });
  t.equal(await get('b.test'), undefined);
  t.match(await get('a.test'), { serverName: 'a.test' });
  t.ok(store.faults.every(({ file }) => file.includes('b.test')));
  await write('b.test');
  t.ok(await until(() => store.faults.length === 0));
  t.match(await get('b.test'), { serverName: 'b.test' });
});

t.test('an unexpected error is reported as a fault and breaks nothing else', async (t) => {
  const { folder, readings, store } = setStore(t);
  const file = join(folder, 'file');
  await writeFile(file, 'good');
  const source = serverIdentitySource(folder, 'a.test', true);
  const read = async (): Promise<ServerIdentity> => {
    const digest = await readFile(file, 'utf8');
    if (digest !== 'good') throw new Error('nobody thought of this');
    return { serverName: 'a.test', keys: [], notAfterMs: 0, digest };
  };
  const odd = { ...source, files: () => [file], read };
  const before = await store.get(odd);
  t.match(before, { digest: 'good' });
  await writeFile(file, 'odd');
  t.ok(await until(() => readings.length === 2));
  t.match(store.faults.map(formatFault), [`${file}:1:1: cannot be used: Error: nobody thought of this`]);
  t.equal(await store.get(odd), before);
  t.equal(await store.get({ ...odd, key: 'asked for the first time' }), undefined);
});

t.test('the name asked for longest ago is evicted first', async (t) => {
  const { get, write, store } = setStore(t, 2);
  for (const name of ['a.test', 'b.test', 'c.test']) await write(name);
  await get('a.test');
  await get('b.test');
  await get('a.test');
  await get('c.test');
  t.same(
    store.loaded.map(({ serverName }) => serverName),
    ['a.test', 'c.test'],
  );
  t.match(await get('b.test'), { serverName: 'b.test' }, 'an evicted name is read again when asked for');
});

t.test('the swap of ..data in a Kubernetes volume replaces the identity', async (t) => {
  const { get, folder, readings } = setStore(t);
  const at = (...names: string[]): string => join(folder, 'a.test', ...names);
  for (const version of ['..1', '..2']) {
    await mkdir(at(version), { recursive: true });
    for (const [name, text] of Object.entries(await filesOf('a.test')))
      await writeFile(at(version, name), text);
  }
  await symlink('..1', at('..data'));
  for (const name of ['chain.pem', 'key.pem', 'clients.pem']) await symlink(join('..data', name), at(name));
  const before = await get('a.test');
  await symlink('..2', at('..data_tmp'));
  await rename(at('..data_tmp'), at('..data'));
  t.ok(await until(() => readings.length === 2));
  t.not((await get('a.test'))?.digest, before?.digest);
});

t.test('names without a folder are found without reading any folder', async (t) => {
  const { folder, write } = setStore(t);
  await write('a.test');
  await write('*.w.test');
  t.same(await missingFolders(folder, ['a.test', '*.w.test']), []);
  t.match(await missingFolders(folder, ['b.test']), [{ problem: 'there is no folder for b.test' }]);
  await rm(folder, { recursive: true });
  t.match(await missingFolders(folder, ['a.test']), [{ problem: /ENOENT/ }]);
});
