/** Prints every fault of a policy folder and its certificates, and warnings about its address lists. */

import {
  checkAccesses,
  checkNodeIdentities,
  checkServerIdentities,
} from '../certificates/check-identities.ts';
import { formatFault, inFileOrder, type PolicyFault } from '../core/fault.ts';
import { listWarnings } from '../policy/list-warnings.ts';
import { loadPolicy } from '../policy/load.ts';
import type { Policy } from '../policy/policy.ts';
import { PolicySources } from '../policy/sources.ts';
import type { Terminal } from './command.ts';

/** Resolves to whether there is no fault. */
export async function checkFolder(folder: string, terminal: Terminal): Promise<boolean> {
  const nowMs = Date.now();
  const sources = new PolicySources({ mode: 'once' });
  const { policy, faults: policyFaults, warnings } = await loadPolicy(folder, nowMs, { sources });
  const certificateFaults = policy === undefined ? [] : await faultsOfCertificates(policy, nowMs);
  const faults = inFileOrder([...policyFaults, ...certificateFaults]);
  for (const fault of faults) terminal.warn(`${formatFault(fault)}\n`);
  const doubts = [
    ...sources.unasked,
    ...warnings.map(formatFault),
    ...[...(policy?.tenants.values() ?? [])].flatMap(listWarnings),
  ];
  for (const doubt of doubts) terminal.warn(`warning: ${doubt}\n`);
  if (faults.length > 0) {
    terminal.warn(`${counted(faults.length, 'fault')}\n`);
    return false;
  }
  const routes = [...(policy?.tenants.values() ?? [])].reduce(
    (sum, tenant) => sum + tenant.routes.entries.length,
    0,
  );
  terminal.write(
    `${folder}: ${counted(policy?.tenants.size ?? 0, 'tenant')}, ${counted(routes, 'route')}, no faults\n`,
  );
  return true;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

async function faultsOfCertificates(policy: Policy, nowMs: number): Promise<readonly PolicyFault[]> {
  const servers = await checkServerIdentities(policy, nowMs);
  const nodes = await checkNodeIdentities(policy, nowMs);
  const accesses = await checkAccesses(policy, nowMs);
  return [...accesses, ...[...servers, ...nodes].flatMap(({ faults }) => faults)];
}
