/** The development PKI under `certs/`: two tenants, each with a client authority of its own. */

import { createHash, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createAuthority } from './pki.ts';

export const developmentTenants = ['tenant-a', 'tenant-b'] as const;
export type DevelopmentTenant = (typeof developmentTenants)[number];

/** A client of a tenant: the files that a worker has on disk. */
export interface Worker {
  readonly certificatePath: string;
  readonly keyPath: string;
  /** SHA-256 of the certificate, base64url, for tokens bound to it. */
  readonly thumbprint: string;
}

export interface DevelopmentPki {
  /** The authority that issued the gateway's certificates. */
  readonly caPath: string;
  readonly workers: Readonly<Record<DevelopmentTenant, Worker>>;
}

const DAY_MS = 86_400_000;

/** The server name of a tenant in development. */
export function serverNameOf(tenant: DevelopmentTenant): string {
  return `${tenant}.example.com`;
}

/** Creates the PKI, or keeps an existing one that is complete and valid for another day. */
export async function writeDevelopmentPki(folder: string): Promise<DevelopmentPki> {
  return (await readPki(folder)) ?? (await makePki(folder));
}

const caPathOf = (folder: string): string => join(folder, 'dev', 'ca.pem');
const workerFolder = (folder: string, tenant: DevelopmentTenant): string => join(folder, 'dev', tenant);

async function readPki(folder: string): Promise<DevelopmentPki | undefined> {
  try {
    await readValid(caPathOf(folder));
    const workers = await Promise.all(
      developmentTenants.map(async (tenant) => {
        const server = join(folder, serverNameOf(tenant));
        await readValid(join(server, 'chain.pem'));
        await readValid(join(server, 'clients.pem'));
        await readFile(join(server, 'key.pem'));
        return [tenant, await readWorker(folder, tenant)] as const;
      }),
    );
    return { caPath: caPathOf(folder), workers: Object.fromEntries(workers) as DevelopmentPki['workers'] };
  } catch {
    return undefined;
  }
}

async function readWorker(folder: string, tenant: DevelopmentTenant): Promise<Worker> {
  const certificatePath = join(workerFolder(folder, tenant), 'worker.pem');
  const keyPath = join(workerFolder(folder, tenant), 'worker-key.pem');
  const certificate = await readValid(certificatePath);
  await readFile(keyPath);
  return {
    certificatePath,
    keyPath,
    thumbprint: createHash('sha256').update(certificate.raw).digest('base64url'),
  };
}

/** Reads a certificate. Rejects if it expires within a day. */
async function readValid(path: string): Promise<X509Certificate> {
  const certificate = new X509Certificate(await readFile(path));
  if (Date.parse(certificate.validTo) < Date.now() + DAY_MS) throw new Error(`${path} expires soon`);
  return certificate;
}

async function makePki(folder: string): Promise<DevelopmentPki> {
  const servers = await createAuthority('patchgate development');
  await write(caPathOf(folder), servers.certificatePem);
  for (const tenant of developmentTenants) {
    const clients = await createAuthority(`${tenant} clients`);
    const server = await servers.issueServer({ dnsNames: [serverNameOf(tenant)] });
    const worker = await clients.issueClient({
      commonName: `worker-1.${tenant}`,
      uris: [`spiffe://${tenant}.example.com/worker-1`],
    });
    const serverFolder = join(folder, serverNameOf(tenant));
    await write(join(serverFolder, 'chain.pem'), server.certificatePem);
    await write(join(serverFolder, 'key.pem'), server.privateKeyPem);
    await write(join(serverFolder, 'clients.pem'), clients.certificatePem);
    await write(join(workerFolder(folder, tenant), 'worker.pem'), worker.certificatePem);
    await write(join(workerFolder(folder, tenant), 'worker-key.pem'), worker.privateKeyPem);
  }
  const made = await readPki(folder);
  if (made === undefined) throw new Error(`the development PKI in ${folder} cannot be read back`);
  return made;
}

/** Replaces the file atomically. Keys are readable by their owner only. */
async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(`${path}.new`, text, { mode: text.includes('PRIVATE KEY') ? 0o600 : 0o644 });
  await rename(`${path}.new`, path);
}
