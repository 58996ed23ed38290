/** `patchgate certs`: the certificates of every server name, when they end, and which are in use. */

import { request } from 'undici';
import { z } from 'zod';
import { type CheckedIdentity, checkIdentities } from '../certificates/check-identities.ts';
import { describeIdentity } from '../certificates/identity-summary.ts';
import { formatFault } from '../policy/fault.ts';
import { loadPolicy } from '../policy/load.ts';
import type { HostPort } from '../policy/policy.ts';
import { type Command, required } from './command.ts';

const DAY_MS = 86_400_000;
const ADMIN_TIMEOUT_MS = 1000;

export const certs: Command = {
  name: 'certs',
  summary: 'list the certificates of every server name: names, ends, client authorities, revocation lists',
  usage: '--config policies',
  options: { config: { type: 'string', default: 'policies' } },
  async run(values, terminal) {
    const nowMs = Date.now();
    const { policy, faults } = await loadPolicy(required(values, 'config'), nowMs);
    for (const fault of faults) terminal.warn(`${formatFault(fault)}\n`);
    if (policy === undefined) return 1;
    const loaded = await namesInUse(policy.gateway.admin);
    const checked = await checkIdentities(policy, nowMs);
    for (const each of checked) terminal.write(describe(each, loaded, nowMs));
    return faults.length + checked.filter((each) => each.faults.length > 0).length > 0 ? 1 : 0;
  },
};

/** What the running gateway has in use; nothing when none runs at the address of the policy. */
async function namesInUse({ host, port }: HostPort): Promise<ReadonlySet<string> | undefined> {
  try {
    const authority = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
    const { statusCode, body } = await request(`http://${authority}/certificates`, {
      signal: AbortSignal.timeout(ADMIN_TIMEOUT_MS),
    });
    const answer = z.array(z.object({ server_name: z.string() })).safeParse(await body.json());
    return statusCode === 200 && answer.success
      ? new Set(answer.data.map((each) => each.server_name))
      : undefined;
  } catch {
    return undefined;
  }
}

function describe(
  { serverName, tenant, identity, faults }: CheckedIdentity,
  loaded: ReadonlySet<string> | undefined,
  nowMs: number,
): string {
  const use = loaded === undefined ? 'no gateway runs' : loaded.has(serverName) ? 'loaded' : 'not loaded';
  const lines = [`${serverName}  (${tenant}, ${use})`];
  for (const fault of faults) lines.push(`  fault    ${formatFault(fault)}`);
  if (identity !== undefined) {
    const { chains, client_authorities, crl } = describeIdentity(identity);
    for (const { subject, issuer, names, key, not_after } of chains) {
      lines.push(
        `  chain    ${subject}, by ${issuer}, ${key}, ${ends(not_after, nowMs)}`,
        `           ${names}`,
      );
    }
    for (const { subject, not_after } of client_authorities) {
      lines.push(`  clients  ${subject}, ${ends(not_after, nowMs)}`);
    }
    if (crl !== undefined) {
      const due =
        crl.next_update === undefined ? 'with no next one announced' : dueText(crl.next_update, nowMs);
      lines.push(`  crl      ${crl.revoked} revoked, ${due}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function ends(date: string, nowMs: number): string {
  return `ends in ${daysUntil(date, nowMs)} days (${date.slice(0, 10)})`;
}

function dueText(date: string, nowMs: number): string {
  const days = daysUntil(date, nowMs);
  return days < 0 ? `past its time since ${date}` : `next one due in ${days} days (${date.slice(0, 10)})`;
}

function daysUntil(date: string, nowMs: number): number {
  return Math.floor((Date.parse(date) - nowMs) / DAY_MS);
}
