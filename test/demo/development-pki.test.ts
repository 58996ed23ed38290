/** The development PKI: two tenants that share only the authority behind the certificates of the gateway. */
import { X509Certificate } from 'node:crypto';
import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { serverNameOf, writeDevelopmentPki } from '../../gateway/demo/development-pki.ts';

const certificate = async (...path: string[]) => new X509Certificate(await readFile(join(...path)));

t.test('each worker is accepted only by its own tenant', async (t) => {
  const folder = t.testdir({});
  const { workers, caPath } = await writeDevelopmentPki(folder);
  const clients = {
    'tenant-a': await certificate(folder, serverNameOf('tenant-a'), 'clients.pem'),
    'tenant-b': await certificate(folder, serverNameOf('tenant-b'), 'clients.pem'),
  };
  for (const [own, other] of [
    ['tenant-a', 'tenant-b'],
    ['tenant-b', 'tenant-a'],
  ] as const) {
    const worker = await certificate(workers[own].certificatePath);
    t.ok(worker.verify(clients[own].publicKey));
    t.notOk(worker.verify(clients[other].publicKey));
    t.match(worker.subjectAltName, `URI:spiffe://${serverNameOf(own)}/worker-1`);
    const chain = await certificate(folder, serverNameOf(own), 'chain.pem');
    t.ok(chain.verify((await certificate(caPath)).publicKey));
    t.equal(chain.checkHost(serverNameOf(own)), serverNameOf(own));
    t.equal(chain.checkHost(serverNameOf(other)), undefined);
    t.equal((await stat(workers[own].keyPath)).mode & 0o777, 0o600, 'a key is readable only by its owner');
  }
});

t.test('an existing PKI is kept, and one with a missing part is made anew', async (t) => {
  const folder = t.testdir({});
  const first = await writeDevelopmentPki(folder);
  const again = await writeDevelopmentPki(folder);
  t.same(again, first);
  await rm(first.workers['tenant-b'].keyPath);
  const anew = await writeDevelopmentPki(folder);
  t.not(anew.workers['tenant-a'].thumbprint, first.workers['tenant-a'].thumbprint);
});
