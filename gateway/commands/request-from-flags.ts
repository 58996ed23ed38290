/** Builds the request that command-line options describe. */

import { readFile } from 'node:fs/promises';
import { type Address, parseAddress } from '../core/address.ts';
import { messageOf } from '../core/error-text.ts';
import type { AssumedToken, CertificateFacts } from '../core/facts.ts';
import { parseInstant } from '../core/instant.ts';
import { type RecordedRequest, readAccessLine } from '../explain/access-line.ts';
import { certificateFromPem } from '../explain/certificate-from-pem.ts';
import type { HypotheticalRequest } from '../explain/hypothetical-request.ts';
import type { ListenerSettings } from '../policy/gateway-settings.ts';
import type { Policy } from '../policy/policy.ts';
import { type OptionValues, optional, required, UsageError } from './command.ts';

const HEADER = /^([^:]+):\s*(.*)$/;

export async function requestFromFlags(policy: Policy, values: OptionValues): Promise<HypotheticalRequest> {
  const peer = addressOption(values, 'peer') ?? addressOption(values, 'client-ip');
  if (peer === undefined) throw new UsageError('missing --peer');
  const nowMs = timeOption(values);
  const serverName = serverNameOption(policy, values);
  const forwarded = optional(values, 'forwarded');
  const token = claimsOption(values);
  const bodyBytes = optional(values, 'body-bytes');
  return {
    listener: listenerFor(policy, optional(values, 'listener')).name,
    serverName,
    peer,
    method: required(values, 'method'),
    target: required(values, 'path'),
    fields: [...headerOptions(values), ...(await authorization(values))],
    ...(forwarded !== undefined && { forwarded }),
    ...(bodyBytes !== undefined && { bodyBytes: byteCount(bodyBytes) }),
    certificate: await certificateOption(policy, serverName, values, nowMs),
    ...(token !== undefined && { token }),
    nowMs,
  };
}

/** Reads the request recorded by a line of the access log: `given` is the line, or a file whose last line counts. */
export async function requestFromLine(given: string): Promise<RecordedRequest> {
  const text = given.startsWith('{') ? given : await textOf('access-line', given);
  const line = text.trimEnd().split('\n').at(-1) ?? '';
  const recorded = readAccessLine(line);
  if (typeof recorded === 'string') throw new UsageError(`--access-line: ${recorded}`);
  if (recorded === undefined) throw new UsageError('--access-line: the line has no request head');
  return recorded;
}

export function addressOption(values: OptionValues, name: string): Address | undefined {
  const text = optional(values, name);
  const address = text === undefined ? undefined : parseAddress(text);
  if (text !== undefined && address === undefined)
    throw new UsageError(`--${name}: expected an IP address, got ${text}`);
  return address;
}

export function listenerFor({ gateway }: Policy, name: string | undefined): ListenerSettings {
  const listener = gateway.listeners.find((each) => name === undefined || each.name === name);
  if (listener === undefined) throw new UsageError(`--listener: unknown listener ${name}`);
  return listener;
}

function timeOption(values: OptionValues): number {
  const text = optional(values, 'time');
  const nowMs = text === undefined ? Date.now() : parseInstant(text);
  if (nowMs === undefined)
    throw new UsageError(`--time: expected a time like 2026-12-01T00:00:00Z, got ${text}`);
  return nowMs;
}

/** Defaults to the server name of the policy, or of `--tenant`, if there is just one and it is no wildcard. */
function serverNameOption(policy: Policy, values: OptionValues): string {
  const given = optional(values, 'server-name');
  if (given !== undefined) return given.toLowerCase();
  const tenant = optional(values, 'tenant');
  const names = [...policy.tenants.values()]
    .filter(({ name }) => tenant === undefined || name === tenant)
    .flatMap(({ serverNames }) => serverNames);
  const [only] = names;
  if (only === undefined || names.length > 1 || only.startsWith('*'))
    throw new UsageError(`missing --server-name, expected one of ${names.join(', ')}`);
  return only;
}

function headerOptions(values: OptionValues): readonly string[] {
  const given = values['header'];
  return (Array.isArray(given) ? given : []).flatMap((text) => {
    const [, name, value = ''] = HEADER.exec(text) ?? [];
    if (name === undefined) throw new UsageError(`--header: expected 'Name: value', got ${text}`);
    return [name, value];
  });
}

async function authorization(values: OptionValues): Promise<readonly string[]> {
  const file = optional(values, 'token-file');
  return file === undefined ? [] : ['Authorization', `Bearer ${(await textOf('token-file', file)).trim()}`];
}

function claimsOption(values: OptionValues): AssumedToken | undefined {
  const text = optional(values, 'claims');
  if (text === undefined) return undefined;
  if (optional(values, 'token-file') !== undefined)
    throw new UsageError('--claims cannot be combined with --token-file');
  try {
    const claims: unknown = JSON.parse(text);
    if (typeof claims === 'object' && claims !== null && !Array.isArray(claims))
      return { kind: 'claims', claims: claims as Readonly<Record<string, unknown>> };
  } catch {
    // Reported below.
  }
  throw new UsageError(`--claims: expected a JSON object, got ${text}`);
}

function byteCount(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text))
    throw new UsageError(`--body-bytes: expected a number of bytes, got ${text}`);
  return Number(text);
}

async function certificateOption(
  policy: Policy,
  serverName: string,
  values: OptionValues,
  nowMs: number,
): Promise<CertificateFacts> {
  const file = optional(values, 'certificate');
  if (file === undefined) return { status: 'absent' };
  const facts = await certificateFromPem(policy, serverName, await textOf('certificate', file), nowMs);
  if (typeof facts === 'string') throw new UsageError(`--certificate: ${file}: ${facts}`);
  return facts;
}

async function textOf(option: string, file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(`--${option}: ${messageOf(error)}`);
  }
}
