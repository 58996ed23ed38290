/** Options of commands that call a gateway: its address, and the caller's credentials. */

import { readFile } from 'node:fs/promises';
import { messageOf } from '../core/error-text.ts';
import type { GatewayAddress } from '../push/gateway-client.ts';
import { type OptionValues, optional, parseHostPort, required, UsageError } from './command.ts';

export const GATEWAY_USAGE = '--token TOKEN|@FILE [--cert FILE --key FILE] [--ca FILE] [--connect HOST:PORT]';

export const gatewayOptions = {
  model: { type: 'string' },
  token: { type: 'string' },
  cert: { type: 'string' },
  key: { type: 'string' },
  ca: { type: 'string' },
  connect: { type: 'string' },
} as const;

/** `at` is the option that names the gateway. */
export async function gatewayAddress(values: OptionValues, at: string): Promise<GatewayAddress> {
  const [certPem, keyPem, caPem] = await Promise.all(
    ['cert', 'key', 'ca'].map((name) => fileOf(values, name)),
  );
  const token = required(values, 'token');
  const connect = optional(values, 'connect');
  return {
    to: required(values, at),
    token: token.startsWith('@') ? (await textOf('token', token.slice(1))).trim() : token,
    ...(certPem !== undefined && { certPem }),
    ...(keyPem !== undefined && { keyPem }),
    ...(caPem !== undefined && { caPem }),
    ...(connect !== undefined && { connectTo: parseHostPort(connect) }),
  };
}

async function fileOf(values: OptionValues, name: string): Promise<string | undefined> {
  const path = optional(values, name);
  return path === undefined ? undefined : textOf(name, path);
}

function textOf(name: string, path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    throw new UsageError(`--${name}: ${messageOf(error)}`);
  });
}

/** Returns a whole number of at most nine digits, or undefined if the option is absent. Throws `UsageError`. */
export function wholeNumber(values: OptionValues, name: string): number | undefined {
  const text = optional(values, name);
  if (text !== undefined && !/^[0-9]{1,9}$/.test(text))
    throw new UsageError(`--${name}: expected a whole number of at most nine digits, got ${text}`);
  return text === undefined ? undefined : Number(text);
}
