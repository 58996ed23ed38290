/** Each request and check asks what secures its connection to a node, and always gets an answer. */
import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import t from 'tap';
import { type NodeIdentity, nodeIdentitySource } from '../../gateway/certificates/node-identity.ts';
import { formatFault } from '../../gateway/core/fault.ts';
import { NodeTlsContexts } from '../../gateway/relay/node-tls.ts';
import { OpensslFolder } from '../certificates/openssl.ts';
import { newFolder } from '../new-folder.ts';
import { sampleUpstream } from './sample-upstream.ts';

t.test('a pair that TLS rejects is a fault when read and secures nothing', async (t) => {
  const folder = await newFolder(t);
  const pki = new OpensslFolder(folder);
  pki.issue('weak', { kind: 'weak', extensions: 'basicConstraints=CA:false\n' });
  const [cert, key] = [join(folder, 'weak.pem'), join(folder, 'weak.key')];
  const upstream = sampleUpstream([], { tls: { cert, key, minTlsVersion: 'TLSv1.3' } });
  const found = await nodeIdentitySource(upstream).read(Date.now());
  t.same('digest' in found || found.map(formatFault), [
    `${cert}:1:1: is rejected by OpenSSL: ee key too small`,
  ]);
  const identity: NodeIdentity = {
    upstream: 'tenant-a/sync',
    digest: '',
    key: {
      chainPem: pki.certificate('weak'),
      keyPem: pki.key('weak'),
      keyType: 'rsa',
      leaf: new X509Certificate(pki.certificate('weak')),
      notAfterMs: 0,
    },
  };
  t.equal(new NodeTlsContexts({ get: () => identity }).find(upstream), undefined);
  t.equal(await new NodeTlsContexts({ get: async () => identity }).find(upstream), undefined);
});
