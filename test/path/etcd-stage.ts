/** A gateway with tenants in a real etcd, as tests see it. */

import type { Test } from 'tap';
import { rawNode, type Stage, setStage } from './stage.ts';

export const PREFIX = '/patchgate/tenants/';
export const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

export const keyOf = (tenant: string): string => `${PREFIX}${tenant}.yaml`;

export function tenantText(tenant: string, serverName = `${tenant}.test`, node = '127.0.0.1:1'): string {
  return `tenant: ${tenant}
serverNames: [${serverName}]
upstreams: { sync: { nodes: ['http://${node}'] } }
routes:
  - name: open
    match: { methods: [GET], path: '/open/**' }
    require: none
    upstream: sync
`;
}

export interface Status {
  readonly generation: number;
  readonly digest: string;
  readonly etcd?: { readonly revision: number; readonly current: boolean };
  readonly tenants: readonly {
    readonly name: string;
    readonly origin: string;
    readonly server_names: string[];
  }[];
  readonly faults: readonly string[];
}

export const statusOf = async (stage: Stage): Promise<Status> =>
  (await (await fetch(`${stage.admin}/policy`)).json()) as Status;
export const metricsOf = async (stage: Stage): Promise<string> =>
  (await fetch(`${stage.admin}/metrics`)).text();
export const readinessOf = async (stage: Stage): Promise<number> =>
  (await fetch(`${stage.admin}/readyz`)).status;

/** Whether the gateway has just these tenants and no fault but missing certificates. */
export async function has(stage: Stage, ...tenants: readonly string[]): Promise<boolean> {
  const status = await statusOf(stage);
  return status.tenants.map(({ name }) => name).join() === tenants.join() && faultsIn(status).length === 0;
}

/** These tenants have no certificates; nobody calls most of them. */
export const faultsIn = ({ faults }: Status): readonly string[] =>
  faults.filter((fault) => !fault.includes('there is no folder for'));

export async function stageWith(t: Test, endpoints: string): Promise<Stage> {
  const node = await rawNode(t, (socket) => socket.write(OK));
  return setStage(t, {
    nodes: [node.address],
    gateway: `  etcd: { endpoints: ['${endpoints}'], tenants: ${PREFIX} }`,
  });
}

/** Whether a reload found no fault, and how many tenants there are after it. */
export async function reloaded(stage: Stage): Promise<readonly [boolean, number]> {
  const { successful, policy } = await stage.gateway.reload();
  return [successful, policy.tenants.size];
}
