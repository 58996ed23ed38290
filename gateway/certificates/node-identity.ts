/** What the gateway presents to the nodes of an upstream, or to etcd and Redis, and whom it trusts there. */

import { createHash, type X509Certificate } from 'node:crypto';
import type { PolicyFault } from '../core/fault.ts';
import { type Policy, upstreamsOf } from '../policy/policy.ts';
import type { Upstream } from '../policy/upstream.ts';
import type { ClientTls } from '../sources/client-tls.ts';
import { type CertifiedKey, readAuthorities, readCertifiedKey } from './certificate-files.ts';
import type { IdentitySource } from './identity-store.ts';
import { PemFiles } from './pem-files.ts';

/** What is presented to a server; all files were read and checked in the same pass. */
export interface ClientIdentity {
  /** Trusted authorities; absent if the public ones are trusted. */
  readonly authorities?: readonly X509Certificate[];
  /** Absent if no certificate is presented. */
  readonly key?: CertifiedKey;
  /** SHA-256, hex, over all files. */
  readonly digest: string;
}

/** What is presented to the nodes of one upstream. */
export interface NodeIdentity extends ClientIdentity {
  /** `tenant/upstream`. */
  readonly upstream: string;
}

type ClientFile = 'ca' | 'cert' | 'key';
const FILES = ['ca', 'cert', 'key'] as const;
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/** How to read the files of an upstream with TLS. */
export function nodeIdentitySource({
  tenant,
  name,
  tls,
}: Pick<Upstream, 'tenant' | 'name' | 'tls'>): IdentitySource<NodeIdentity> {
  const upstream = `${tenant}/${name}`;
  const paths = clientFiles(tls);
  return {
    key: `${upstream} ${[...paths].join(' ')}`,
    label: upstream,
    files: () => [...paths.values()],
    read: async (nowMs) => {
      const identity = await readClientIdentity(paths, nowMs);
      return 'digest' in identity ? { upstream, ...identity } : identity;
    },
  };
}

/** The paths that the TLS settings name. */
export function clientFiles(tls: ClientTls): ReadonlyMap<ClientFile, string> {
  const paths = new Map<ClientFile, string>();
  for (const file of FILES) if (tls[file] !== undefined) paths.set(file, tls[file]);
  return paths;
}

/** The upstreams that have nodes over TLS. */
export function upstreamsOverTls(policy: Policy): readonly Upstream[] {
  return upstreamsOf(policy).filter(({ nodes }) => nodes.some((node) => node.secure));
}

export async function readClientIdentity(
  paths: ReadonlyMap<ClientFile, string>,
  nowMs: number,
): Promise<ClientIdentity | readonly PolicyFault[]> {
  const files = await PemFiles.read(paths, [...paths.keys()]);
  const authorities = readAuthorities(files, 'ca', nowMs);
  const key = readCertifiedKey(files, 'cert', 'key', nowMs, misfitOf);
  if (files.faults.length > 0) return files.faults;
  const hash = createHash('sha256');
  for (const file of FILES) hash.update(`${file} ${files.text(file)?.length}:${files.text(file)}`);
  return {
    ...(paths.has('ca') && { authorities }),
    ...(key !== undefined && { key }),
    digest: hash.digest('hex'),
  };
}

/** Node calls the extended key usages `keyUsage`; a certificate without the extension is not restricted. */
function misfitOf(leaf: X509Certificate): string | undefined {
  const usages: readonly string[] | undefined = leaf.keyUsage;
  return usages === undefined || usages.includes(CLIENT_AUTH)
    ? undefined
    : 'the first certificate is not for client authentication';
}
