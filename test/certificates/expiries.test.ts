/** Whatever expires is announced 30, 7 and 1 days before, once each, and again after a renewal. */
import t from 'tap';
import {
  type Expiry,
  ExpiryReminder,
  nodeExpiries,
  serverExpiries,
} from '../../gateway/certificates/expiries.ts';
import { nodeIdentitySource } from '../../gateway/certificates/node-identity.ts';
import { serverIdentitySource } from '../../gateway/certificates/server-identity.ts';
import { createAuthority } from '../../gateway/demo/pki.ts';

const DAY_MS = 86_400_000;
const START_MS = 1_800_000_000_000;

t.test('each mark is announced once, whether it is passed while running or before the start', async (t) => {
  const reminder = new ExpiryReminder();
  const expiry: Expiry = { name: 'a.test', role: 'chain', expiresMs: START_MS + 40 * DAY_MS };
  const told: [day: number, left: number][] = [];
  for (let hour = 0; hour <= 42 * 24; hour += 1) {
    for (const { daysLeft } of reminder.remind([expiry], START_MS + hour * 3_600_000)) {
      told.push([Math.floor(hour / 24), daysLeft]);
    }
  }
  t.same(told, [
    [10, 30],
    [33, 7],
    [39, 1],
  ]);
  const late = new ExpiryReminder();
  t.match(
    late.remind([expiry], START_MS + 38 * DAY_MS),
    [{ daysLeft: 2 }],
    'all marks already passed make one line',
  );
  t.same(late.remind([expiry], START_MS + 38.5 * DAY_MS), []);
  t.match(
    late.remind([expiry], START_MS + 41 * DAY_MS),
    [{ daysLeft: -1 }],
    'the expiry itself makes one more line',
  );
  const renewed = { ...expiry, expiresMs: START_MS + 45 * DAY_MS };
  t.match(
    late.remind([renewed], START_MS + 41 * DAY_MS),
    [{ daysLeft: 4 }],
    'a renewed one is announced anew',
  );
});

t.test('chains, authorities and lists towards callers and towards nodes all have an expiry', async (t) => {
  const authority = await createAuthority('all');
  const server = await authority.issueServer({ dnsNames: ['a.test'], notAfter: new Date(START_MS) });
  const due = new Date(Math.floor(Date.now() / 1000) * 1000 + DAY_MS);
  const client = await authority.issueClient({ commonName: 'gateway', notAfter: new Date(START_MS + 1000) });
  const folder = t.testdir({
    'a.test': {
      'chain.pem': server.certificatePem,
      'key.pem': server.privateKeyPem,
      'clients.pem': authority.certificatePem,
      'clients.crl': await authority.revocationList([], due),
    },
    'gateway.pem': client.certificatePem,
    'gateway.key': client.privateKeyPem,
  });
  const found = await serverIdentitySource(folder, 'a.test', true).read(Date.now());
  if (!('digest' in found)) throw new Error('the folder has faults');
  t.match(serverExpiries(found), [
    { name: 'a.test', role: 'chain', expiresMs: START_MS },
    { name: 'a.test', role: 'clients' },
    { name: 'a.test', role: 'crl', expiresMs: due.getTime() },
  ]);
  const upstream = {
    name: 'sync',
    tenant: 'tenant-a',
    tls: {
      ca: `${folder}/a.test/clients.pem`,
      cert: `${folder}/gateway.pem`,
      key: `${folder}/gateway.key`,
      minTlsVersion: 'TLSv1.3',
    },
  } as const;
  const towards = await nodeIdentitySource(upstream).read(Date.now());
  if (!('digest' in towards)) throw new Error('the files have faults');
  t.match(nodeExpiries(towards), [
    { name: 'tenant-a/sync', role: 'node-chain', expiresMs: START_MS + 1000 },
    { name: 'tenant-a/sync', role: 'node-authorities' },
  ]);
});
