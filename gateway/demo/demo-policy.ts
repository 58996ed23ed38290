/** Writes the policy of the demo as an operator would: one gateway file, and one file per tenant. */

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JSONWebKeySet } from 'jose';
import { type DevelopmentTenant, serverNameOf } from './development-pki.ts';

export const ISSUER = 'https://auth.example.com';
export const AUDIENCE = 'weight-sync';

export interface DemoPolicy {
  readonly certificatesFolder: string;
  readonly jwks: JSONWebKeySet;
  /** URL of each tenant's sync node. */
  readonly nodes: Readonly<Record<DevelopmentTenant, string>>;
}

/** Writes the files below `folder` and resolves to the path of the access log that they configure. */
export async function writeDemoPolicy(folder: string, policy: DemoPolicy): Promise<string> {
  const tenants = join(folder, 'tenants');
  await mkdir(tenants, { recursive: true });
  await writeFile(join(tenants, 'main.jwks.json'), `${JSON.stringify(policy.jwks, undefined, 2)}\n`);
  await writeFile(join(folder, 'gateway.yaml'), gatewayYaml(policy.certificatesFolder));
  await writeFile(
    join(tenants, 'tenant-a.yaml'),
    tenantYaml('tenant-a', 'require', policy.nodes['tenant-a']),
  );
  await writeFile(
    join(tenants, 'tenant-b.yaml'),
    tenantYaml('tenant-b', 'optional', policy.nodes['tenant-b']),
  );
  return join(folder, 'access.log');
}

function gatewayYaml(certificatesFolder: string): string {
  return `gateway:
  listeners:
    - name: edge
      address: 127.0.0.1:0
      trustedProxies: [127.0.0.1/32]   # so that a made-up client can be shown
  certificates: ${JSON.stringify(certificatesFolder)}
  admin: { address: 127.0.0.1:0 }
  workers: 1
  accessLog: { file: access.log }
`;
}

/** With `optional` a foreign certificate gets a 403 answer; with `require` the connection ends unanswered. */
function tenantYaml(tenant: DevelopmentTenant, clientCertificates: string, node: string): string {
  const serverName = serverNameOf(tenant);
  return `tenant: ${tenant}
serverNames: [${serverName}]
clientCertificates: ${clientCertificates}
addresses:
  here: { cidrs: [127.0.0.0/8] }
allow: [here]
issuers:
  main:
    issuer: ${ISSUER}
    audience: ${AUDIENCE}
    keys: { file: main.jwks.json }
    algorithms: [ES256]
upstreams:
  sync:
    nodes: ['${node}']
routes:
  - name: push-patch
    match: { methods: [PUT, PATCH, HEAD], path: '/v1/models/{model_id}/patches/{stream_id}' }
    certificate: { names: ['spiffe://${serverName}/worker-1'] }
    require: { scope: finetune, binding: required, claims: { model_id: '{model_id}' } }
    stream: { format: weight-patch, maxBytes: 1GiB, check: deep }
    upstream: sync
  - name: weights
    match: { methods: [GET, HEAD], path: '/v1/models/{model_id}/**' }
    certificate: { names: ['spiffe://${serverName}/worker-1'] }
    require: { scope: read, claims: { model_id: '{model_id}' } }
    upstream: sync
`;
}
