/** The certificate found in a handshake is judged again when the accepted authorities change, and only then. */
import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { ClientAuthorities } from '../../gateway/certificates/client-authorities.ts';
import type { ConnectionFacts } from '../../gateway/core/facts.ts';
import type { NamedContext } from '../../gateway/edge/server-names.ts';
import { Standing } from '../../gateway/edge/standing.ts';
import type { Policy } from '../../gateway/policy/policy.ts';
import { createTestAuthority } from './authority.ts';

const policy = { name: 'any' } as unknown as Policy;

function named(digest: string, authorityPem: string): NamedContext {
  const clients = ClientAuthorities.of([new X509Certificate(authorityPem)], undefined);
  const tenant = { revocation: { crl: 'leaf', expiredCrl: 'refuse' } };
  return { identity: { digest, clients }, tenant } as unknown as NamedContext;
}

/** Facts of a resumed session, whose certificate came without the issuer that links it to the authority. */
async function resumed(authorityPem: string): Promise<{ standing: Standing; turn(to: NamedContext): void }> {
  const between = await createTestAuthority('between');
  const leaf = new X509Certificate((await between.leaf('worker')).certPem);
  let now = named('before', authorityPem);
  let identities = 1;
  const facts = {
    serverName: 'a.test',
    certificate: { status: 'verified', chain: [] },
  } as unknown as ConnectionFacts;
  const standing = new Standing(
    { find: () => now, identities: () => identities },
    { policy, identities },
    now,
    facts,
    { getPeerX509Certificate: () => leaf },
  );
  const turn = (to: NamedContext): void => {
    now = to;
    identities += 1;
  };
  return { standing, turn };
}

t.test('a renewed server certificate does not affect the callers', async (t) => {
  const { certPem } = await createTestAuthority('root');
  const { standing, turn } = await resumed(certPem);
  turn(named('after', certPem));
  t.equal(standing.under(policy).certificate.status, 'verified');
});

t.test('a server with other client authorities refuses the caller until the old ones are back', async (t) => {
  const { certPem } = await createTestAuthority('root');
  const { standing, turn } = await resumed(certPem);
  turn(named('after', (await createTestAuthority('other')).certPem));
  t.match(standing.under(policy).certificate, {
    status: 'refused',
    reason: 'its authority is no longer accepted',
  });
  turn(named('again', certPem));
  t.equal(standing.under(policy).certificate.status, 'verified');
});

t.test('changes since the handshake began are judged at the first look', async (t) => {
  const { certPem } = await createTestAuthority('root');
  const { standing, turn } = await resumed(certPem);
  turn(named('meanwhile', (await createTestAuthority('other')).certPem));
  t.equal(standing.facts.certificate.status, 'verified');
  t.equal(standing.under(policy).certificate.status, 'refused');
});
