/** A policy folder without faults, and the changes tests make to it. */

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';
import { formatFault } from '../../gateway/core/fault.ts';
import { type Authority, createAuthority, type IssuedPair } from '../../gateway/demo/pki.ts';
import { loadPolicy } from '../../gateway/policy/load.ts';
import type { Policy } from '../../gateway/policy/policy.ts';

export const SERVER_NAME = 'a.example.com';

export const GATEWAY_YAML = `gateway:
  listeners:
    - name: edge
      address: 127.0.0.1:8443
  admin: { address: 127.0.0.1:9901 }
`;

export const TENANT_YAML = `tenant: tenant-a
serverNames: [a.example.com]
addresses:
  offices: { cidrs: [203.0.113.0/24, '2001:db8::/32'] }
  partners: { file: lists/partners.cidr }
allow: [offices, partners]
issuers:
  main:
    issuer: https://auth.example.com
    audience: weight-sync
    keys: { file: keys/main.jwks.json }
    algorithms: [ES256]
upstreams:
  sync:
    nodes: ['http://10.1.0.1:7001']
routes:
  - name: push-patch
    match: { methods: [PUT], path: '/v1/models/{model_id}/patches/{stream_id}' }
    require: { scope: finetune, claims: { model_id: '{model_id}' } }
    stream: { format: weight-patch, maxBytes: 2GiB }
    upstream: sync
  - name: weights
    match: { methods: [GET, HEAD], path: '/v1/models/{model_id}/**' }
    require: { scope: read }
    upstream: sync
`;

export const LIST = '# partners\n198.51.100.0/24\n\n192.0.2.7   # the one machine\n';
/** RFC 7517 Appendix A.1. */
export const JWKS = JSON.stringify({
  keys: [
    {
      kty: 'EC',
      crv: 'P-256',
      x: 'MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4',
      y: '4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM',
      kid: '1',
    },
  ],
});

/** The authorities behind the certificates of a folder. */
export interface Authorities {
  readonly servers: Authority;
  readonly clients: Authority;
}

export interface PolicyFolder extends Authorities {
  /** The folder of `gateway.yaml`; `certs` is beside it. */
  readonly path: string;
  /** Writes a file, its name relative to `path`. */
  write(name: string, text: string | Uint8Array): Promise<void>;
  /** Replaces a text that the file must contain. */
  edit(name: string, from: string, to: string): Promise<void>;
  remove(name: string): Promise<void>;
  /** Adds a second tenant: the files of `tenant-a` under another tenant name and server name. */
  addTenant(tenant: string, serverName: string): Promise<void>;
  /** Writes certificates of a server name; texts given here replace the sound ones. */
  addCertificates(serverName: string, files?: Readonly<Record<string, string>>): Promise<IssuedPair>;
  load(previous?: Policy, nowMs?: number): Promise<Loaded>;
}

export interface Loaded {
  readonly policy?: Policy;
  /** Faults as `patchgate check` prints them, with file names relative to the folder. */
  readonly faults: readonly string[];
}

export async function createAuthorities(): Promise<Authorities> {
  return { servers: await createAuthority('servers'), clients: await createAuthority('clients') };
}

/** Writes the folder, which is removed with the test. Files given here replace the sound ones. */
export async function writePolicyFolder(
  t: Test,
  authorities: Authorities,
  files: Readonly<Record<string, string>> = {},
): Promise<PolicyFolder> {
  const root = await mkdtemp(join(tmpdir(), 'patchgate-policy-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  const folder = new FolderOnDisk(root, authorities);
  const all = {
    'gateway.yaml': GATEWAY_YAML,
    'tenants/tenant-a.yaml': TENANT_YAML,
    'tenants/lists/partners.cidr': LIST,
    'tenants/keys/main.jwks.json': JWKS,
    ...files,
  };
  for (const [name, text] of Object.entries(all)) await folder.write(name, text);
  await folder.addCertificates(SERVER_NAME);
  return folder;
}

class FolderOnDisk implements PolicyFolder {
  readonly path: string;
  readonly servers: Authority;
  readonly clients: Authority;

  constructor(root: string, { servers, clients }: Authorities) {
    this.path = join(root, 'policies');
    this.servers = servers;
    this.clients = clients;
  }

  async write(name: string, text: string | Uint8Array): Promise<void> {
    const path = join(this.path, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }

  async edit(name: string, from: string, to: string): Promise<void> {
    const text = await readFile(join(this.path, name), 'utf8');
    await this.write(name, replaced(text, from, to));
  }

  remove(name: string): Promise<void> {
    return rm(join(this.path, name), { recursive: true });
  }

  async addTenant(tenant: string, serverName: string): Promise<void> {
    const text = TENANT_YAML.replace('tenant-a', tenant).replace(SERVER_NAME, serverName);
    await this.write(`tenants/${tenant}.yaml`, text);
    await this.addCertificates(serverName.replace('*.', '_.'));
  }

  async addCertificates(folder: string, files: Readonly<Record<string, string>> = {}): Promise<IssuedPair> {
    const server = await this.servers.issueServer({ dnsNames: [folder.replace('_.', '*.')] });
    const all = {
      'chain.pem': server.certificatePem,
      'key.pem': server.privateKeyPem,
      'clients.pem': this.clients.certificatePem,
      ...files,
    };
    for (const [name, text] of Object.entries(all)) await this.write(`../certs/${folder}/${name}`, text);
    return server;
  }

  async load(previous?: Policy, nowMs = Date.now()): Promise<Loaded> {
    const { policy, faults } = await loadPolicy(this.path, nowMs, { previous });
    const texts = faults.map((fault) => formatFault({ ...fault, file: this.#relative(fault.file) }));
    return { faults: texts, ...(policy !== undefined && { policy }) };
  }

  #relative(file: string): string {
    return file.replace(`${this.path}/`, '').replace(`${dirname(this.path)}/`, '');
  }
}

/** The text with `from` replaced by `to`; throws if it lacks `from`, since the test would then prove nothing. */
export function replaced(text: string, from: string, to: string): string {
  if (!text.includes(from)) throw new Error(`there is no ${JSON.stringify(from)} to replace`);
  return text.replace(from, () => to);
}
