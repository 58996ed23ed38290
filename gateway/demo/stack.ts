/** Starts what the demo runs on: a sync node for each of two tenants, and the gateway, all on free loopback ports. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatFault } from '../core/fault.ts';
import { type Gateway, startGateway } from '../gateway.ts';
import { createLog } from '../observe/log.ts';
import type { GatewayAddress } from '../push/gateway-client.ts';
import { createModel } from '../sync-node/create-model.ts';
import { type SyncNode, startSyncNode } from '../sync-node/sync-node.ts';
import { AUDIENCE, ISSUER, writeDemoPolicy } from './demo-policy.ts';
import {
  type DevelopmentPki,
  type DevelopmentTenant,
  developmentTenants,
  serverNameOf,
  writeDevelopmentPki,
} from './development-pki.ts';
import { createTokenIssuer, type TokenIssuer } from './token.ts';

export const MODEL = 'topics';

export interface StackOptions {
  /** Removed by the caller at the end. */
  readonly folder: string;
  readonly certificatesFolder: string;
  /** File of the model that both nodes start with. */
  readonly basePath: string;
  readonly version: string;
}

export interface Stack {
  readonly pki: DevelopmentPki;
  readonly nodes: Readonly<Record<DevelopmentTenant, SyncNode>>;
  readonly port: number;
  readonly admin: string;
  readonly policyFolder: string;
  readonly accessLog: string;
  /** The gateway by a tenant's server name, with the certificate of that tenant's worker or of another's. */
  addressOf(tenant: DevelopmentTenant, worker?: DevelopmentTenant): Promise<GatewayAddress>;
  /** A token for the model, bound to the certificate of the tenant's worker. */
  token(tenant: DevelopmentTenant, scope: string): Promise<string>;
  close(): Promise<void>;
}

/** Rejects if a part fails to start, after stopping those that had started. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const started: { close(): Promise<void> }[] = [];
  const close = async (): Promise<void> => {
    for (const part of started.toReversed()) await part.close();
  };
  try {
    const pki = await writeDevelopmentPki(options.certificatesFolder);
    const nodes = await startNodes(options, started);
    const tokens = await createTokenIssuer();
    const policyFolder = join(options.folder, 'policies');
    const accessLog = await writeDemoPolicy(policyFolder, {
      certificatesFolder: options.certificatesFolder,
      jwks: tokens.jwks,
      nodes: { 'tenant-a': nodes['tenant-a'].url, 'tenant-b': nodes['tenant-b'].url },
    });
    const gateway = await openGateway(policyFolder, options.version);
    started.push({ close: () => gateway.drain() });
    const port = gateway.addresses.get('edge')?.port ?? 0;
    const admin = `http://127.0.0.1:${gateway.adminAddress?.port}`;
    const addressOf: Stack['addressOf'] = (tenant, worker = tenant) => address(pki, port, tenant, worker);
    const token: Stack['token'] = (tenant, scope) => sign(tokens, pki, tenant, scope);
    return { pki, nodes, port, admin, policyFolder, accessLog, addressOf, token, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startNodes(
  { folder, basePath }: StackOptions,
  started: { close(): Promise<void> }[],
): Promise<Stack['nodes']> {
  const nodes = await Promise.all(
    developmentTenants.map(async (tenant) => {
      const root = join(folder, 'nodes', tenant);
      await createModel(root, MODEL, basePath);
      const node = await startSyncNode({ root });
      started.push(node);
      return [tenant, node] as const;
    }),
  );
  return Object.fromEntries(nodes) as Stack['nodes'];
}

async function openGateway(policyFolder: string, version: string): Promise<Gateway> {
  const { gateway, faults } = await startGateway({ policyFolder, version, log: createLog('error') });
  if (gateway === undefined) throw new Error(faults.map(formatFault).join('\n'));
  return gateway;
}

async function address(
  pki: DevelopmentPki,
  port: number,
  tenant: DevelopmentTenant,
  worker: DevelopmentTenant,
): Promise<GatewayAddress> {
  const { certificatePath, keyPath } = pki.workers[worker];
  return {
    to: `https://${serverNameOf(tenant)}:${port}`,
    connectTo: { host: '127.0.0.1', port },
    caPem: await readFile(pki.caPath, 'utf8'),
    certPem: await readFile(certificatePath, 'utf8'),
    keyPem: await readFile(keyPath, 'utf8'),
  };
}

function sign(
  tokens: TokenIssuer,
  pki: DevelopmentPki,
  tenant: DevelopmentTenant,
  scope: string,
): Promise<string> {
  return tokens.sign({
    iss: ISSUER,
    aud: AUDIENCE,
    sub: `worker-1.${tenant}`,
    scope,
    model_id: MODEL,
    cnf: { 'x5t#S256': pki.workers[tenant].thumbprint },
  });
}
