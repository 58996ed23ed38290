/** Reads every certificate a policy needs, for commands that check it before it is used. */

import type { PolicyFault } from '../core/fault.ts';
import { accessesOf } from '../policy/gateway-settings.ts';
import { asksForClients, type Policy } from '../policy/policy.ts';
import { accessSource } from './access-keeper.ts';
import { type Digested, type IdentitySource, readSource } from './identity-store.ts';
import { type NodeIdentity, nodeIdentitySource, upstreamsOverTls } from './node-identity.ts';
import { type ServerIdentity, serverIdentitySource } from './server-identity.ts';

/** The certificates of one server name or upstream, or their faults. */
export interface Checked<Identity> {
  /** The server name, or `tenant/upstream`. */
  readonly name: string;
  readonly tenant: string;
  readonly identity?: Identity;
  readonly faults: readonly PolicyFault[];
}

/** Checks every server name, in the order of the policy. */
export function checkServerIdentities(
  policy: Policy,
  nowMs: number,
): Promise<readonly Checked<ServerIdentity>[]> {
  const { certificates } = policy.gateway;
  const checked = [...policy.serverNames].map(([serverName, tenant]) => {
    const source = serverIdentitySource(certificates, serverName, asksForClients(policy, tenant));
    return () => check(source, tenant.name, nowMs);
  });
  return inTurn(checked);
}

/** Returns the faults of the files that `gateway.yaml` names for etcd and Redis. */
export async function checkAccesses({ gateway }: Policy, nowMs: number): Promise<readonly PolicyFault[]> {
  const found = await inTurn(
    accessesOf(gateway).map((access) => () => readSource(accessSource(access), nowMs)),
  );
  return found.flatMap((read) => ('digest' in read ? [] : read));
}

/** Checks every upstream with nodes over TLS. */
export function checkNodeIdentities(
  policy: Policy,
  nowMs: number,
): Promise<readonly Checked<NodeIdentity>[]> {
  const checked = upstreamsOverTls(policy).map((upstream) => {
    return () => check(nodeIdentitySource(upstream), upstream.tenant, nowMs);
  });
  return inTurn(checked);
}

/** Runs one step at a time: a policy may have ten thousand names, more than a process may have open files. */
async function inTurn<T>(steps: readonly (() => Promise<T>)[]): Promise<readonly T[]> {
  const done: T[] = [];
  for (const step of steps) done.push(await step());
  return done;
}

async function check<Identity extends Digested>(
  source: IdentitySource<Identity>,
  tenant: string,
  nowMs: number,
): Promise<Checked<Identity>> {
  const found = await readSource(source, nowMs);
  const common = { name: source.label, tenant };
  return 'digest' in found ? { ...common, identity: found, faults: [] } : { ...common, faults: found };
}
