/** The schema of `*.test.yaml`: requests, and what the policy should decide about them. */

import { z } from 'zod';
import { parseAddress } from '../core/address.ts';
import { type DenialCode, denials } from '../core/denial.ts';
import { parseInstant } from '../core/instant.ts';
import { count, duration, read } from '../policy/schema-types.ts';

const YEAR_MS = 366 * 86_400_000;

const instant = read(parseInstant, 'a time like 2026-12-01T00:00:00Z');

const certificate = z.strictObject({
  subject: z.string().prefault('CN=client'),
  names: z.array(z.string().min(1)).prefault([]),
  serial: z.string().prefault('1'),
  /** Why the presented certificate is not valid; a valid one has none. */
  refused: z.string().optional(),
});

const token = z.strictObject({
  issuer: z.string().optional(),
  scope: z.union([z.string(), z.array(z.string())]).optional(),
  sub: z.string().prefault('someone'),
  jti: z.string().optional(),
  bound: z.boolean().prefault(false),
  age: duration(0, YEAR_MS).prefault('0s'),
  life: duration(0, YEAR_MS).prefault('10m'),
  claims: z.record(z.string(), z.unknown()).prefault({}),
});

const request = z.strictObject({
  listener: z.string().optional(),
  serverName: z.string().optional(),
  method: z.string().optional(),
  path: z.string().optional(),
  client: read(parseAddress, 'an IP address').optional(),
  forwarded: z.string().optional(),
  headers: z.record(z.string(), z.string()).optional(),
  bytes: count(0, Number.MAX_SAFE_INTEGER).optional(),
  certificate: z.union([z.literal('none'), certificate]).optional(),
  token: z.union([z.literal('none'), token]).optional(),
});

const codes = Object.keys(denials) as [DenialCode, ...DenialCode[]];
const outcome = z.enum(['admitted', ...codes]);

const expectation = z.union([
  outcome,
  z.strictObject({
    outcome,
    status: count(100, 599).optional(),
    route: z.string().optional(),
    rule: z.string().optional(),
  }),
]);

export const testFile = z.strictObject({
  /** The policy folder, absolute or relative to this file. */
  policy: z.string().min(1).prefault('.'),
  /** When the requests arrive; now by default. */
  time: instant.optional(),
  /** Default values of the requests. */
  base: request.prefault({}),
  cases: z
    .array(z.strictObject({ name: z.string().min(1), request: request.prefault({}), expect: expectation }))
    .min(1),
});

export type TestFile = z.output<typeof testFile>;
export type RequestFile = z.output<typeof request>;
export type CertificateFile = z.output<typeof certificate>;
export type TokenFile = z.output<typeof token>;
export type Expectation = z.output<typeof expectation>;
