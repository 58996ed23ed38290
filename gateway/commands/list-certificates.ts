/** Lists the certificates of every server name and upstream, with their faults. */

import { z } from 'zod';
import {
  type Checked,
  checkNodeIdentities,
  checkServerIdentities,
} from '../certificates/check-identities.ts';
import {
  type AuthoritySummary,
  type ChainSummary,
  describeIdentity,
  describeNodeIdentity,
} from '../certificates/identity-summary.ts';
import type { NodeIdentity } from '../certificates/node-identity.ts';
import type { ServerIdentity } from '../certificates/server-identity.ts';
import { formatFault, type PolicyFault } from '../core/fault.ts';
import type { HostPort } from '../policy/gateway-settings.ts';
import { loadPolicy } from '../policy/load.ts';
import type { Terminal } from './command.ts';

const DAY_MS = 86_400_000;
const ADMIN_TIMEOUT_MS = 1000;

/** Resolves to whether there is no fault. */
export async function listCertificates(folder: string, terminal: Terminal): Promise<boolean> {
  const nowMs = Date.now();
  const { policy, faults } = await loadPolicy(folder, nowMs);
  for (const fault of faults) terminal.warn(`${formatFault(fault)}\n`);
  if (policy === undefined) return false;
  const loaded = await namesInUse(policy.gateway.admin);
  const servers = await checkServerIdentities(policy, nowMs);
  const nodes = await checkNodeIdentities(policy, nowMs);
  for (const each of servers) terminal.write(describeServer(each, loaded, nowMs));
  for (const each of nodes) terminal.write(describeNodes(each, nowMs));
  return [...faults, ...servers.flatMap(faultsOf), ...nodes.flatMap(faultsOf)].length === 0;
}

/** Server names in use by the running gateway; undefined if none answers at the policy's admin address. */
async function namesInUse({ host, port }: HostPort): Promise<ReadonlySet<string> | undefined> {
  try {
    const authority = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
    const response = await fetch(`http://${authority}/certificates`, {
      signal: AbortSignal.timeout(ADMIN_TIMEOUT_MS),
      redirect: 'error',
    });
    const answer = z.array(z.object({ server_name: z.string() })).safeParse(await response.json());
    return response.ok && answer.success ? new Set(answer.data.map((each) => each.server_name)) : undefined;
  } catch {
    return undefined;
  }
}

const faultsOf = ({ faults }: Checked<unknown>): readonly PolicyFault[] => faults;

function describeServer(
  { name, tenant, identity, faults }: Checked<ServerIdentity>,
  loaded: ReadonlySet<string> | undefined,
  nowMs: number,
): string {
  const use = loaded === undefined ? 'no gateway running' : loaded.has(name) ? 'loaded' : 'not loaded';
  const lines = [`${name}  (${tenant}, ${use})`, ...faults.map(faultLine)];
  if (identity !== undefined) {
    const { chains, client_authorities, crl } = describeIdentity(identity);
    for (const chain of chains) lines.push(...chainLines('chain', chain, nowMs));
    for (const authority of client_authorities) lines.push(authorityLine('clients', authority, nowMs));
    if (crl !== undefined) {
      const due =
        crl.next_update === undefined ? 'no next update announced' : dueText(crl.next_update, nowMs);
      lines.push(line('crl', `${crl.revoked} revoked, ${due}`));
    }
  }
  return `${lines.join('\n')}\n`;
}

function describeNodes({ name, identity, faults }: Checked<NodeIdentity>, nowMs: number): string {
  const lines = [`${name}  (shown to nodes)`, ...faults.map(faultLine)];
  if (identity !== undefined) {
    const { chain, authorities } = describeNodeIdentity(identity);
    if (chain !== undefined) lines.push(...chainLines('chain', chain, nowMs));
    for (const authority of authorities ?? []) lines.push(authorityLine('nodes', authority, nowMs));
    if (authorities === undefined) lines.push(line('nodes', 'public authorities'));
  }
  return `${lines.join('\n')}\n`;
}

const line = (label: string, text: string): string => `  ${label.padEnd(9)}${text}`;
const faultLine = (fault: PolicyFault): string => line('fault', formatFault(fault));

function chainLines(label: string, chain: ChainSummary, nowMs: number): readonly string[] {
  const { subject, issuer, names, key, not_after } = chain;
  const lines = [line(label, `${subject}, by ${issuer}, ${key}, ${ends(not_after, nowMs)}`)];
  if (names !== '') lines.push(line('', names));
  return lines;
}

function authorityLine(label: string, { subject, not_after }: AuthoritySummary, nowMs: number): string {
  return line(label, `${subject}, ${ends(not_after, nowMs)}`);
}

function ends(date: string, nowMs: number): string {
  return `expires in ${daysUntil(date, nowMs)} days (${date.slice(0, 10)})`;
}

function dueText(date: string, nowMs: number): string {
  const days = daysUntil(date, nowMs);
  return days < 0 ? `overdue since ${date}` : `next update in ${days} days (${date.slice(0, 10)})`;
}

function daysUntil(date: string, nowMs: number): number {
  return Math.floor((Date.parse(date) - nowMs) / DAY_MS);
}
