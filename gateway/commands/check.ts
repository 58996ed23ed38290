/** `patchgate check`: every fault of a policy folder at once, without starting anything. */

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
import { type Command, required } from './command.ts';

export const check: Command = {
  name: 'check',
  summary:
    'report every fault of a policy folder and its certificates, and doubts about its lists; exit 1 if there is a fault',
  usage: '--config policies',
  options: { config: { type: 'string', default: 'policies' } },
  async run(values, terminal) {
    const folder = required(values, 'config');
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
      return 1;
    }
    const routes = [...(policy?.tenants.values() ?? [])].reduce(
      (sum, tenant) => sum + tenant.routes.entries.length,
      0,
    );
    terminal.write(
      `${folder}: ${counted(policy?.tenants.size ?? 0, 'tenant')}, ${counted(routes, 'route')}, no fault\n`,
    );
    return 0;
  },
};

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

async function faultsOfCertificates(policy: Policy, nowMs: number): Promise<readonly PolicyFault[]> {
  const servers = await checkServerIdentities(policy, nowMs);
  const nodes = await checkNodeIdentities(policy, nowMs);
  const accesses = await checkAccesses(policy, nowMs);
  return [...accesses, ...[...servers, ...nodes].flatMap(({ faults }) => faults)];
}
