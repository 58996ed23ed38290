/** Schema of an upstream: its nodes, how one is chosen, and how they are watched. */

import { z } from 'zod';
import { checkPath } from '../core/request-target.ts';
import { clientTls } from './client-tls-file.ts';
import { count, duration, percent } from './schema-types.ts';

const DAY_MS = 86_400_000;

const node = z.union([
  z.string(),
  z.strictObject({
    url: z.string().describe('`http://host:port` or `https://host:port`.'),
    weight: count(1, 1000)
      .prefault(1)
      .describe('Share of the requests relative to other nodes; counts for each of its addresses.'),
  }),
]);

/** A range of status codes, both ends included. */
export interface StatusRange {
  readonly first: number;
  readonly last: number;
}

const statusRange = z.union([z.string(), z.number()]).transform((value, context): StatusRange => {
  const text = String(value);
  const [, first, last = first] = /^([2-5][0-9]{2})(?:-([2-5][0-9]{2}))?$/.exec(text) ?? [];
  const range = { first: Number(first), last: Number(last) };
  if (range.first <= range.last) return range;
  const params = { expected: 'a status like 204, or statuses like 200-299' };
  context.issues.push({ code: 'custom', message: `"${text}" is invalid`, params, input: value });
  return z.NEVER;
});

const health = z.strictObject({
  path: z
    .string()
    .refine((path) => typeof checkPath(path) !== 'string', { error: 'is not a path' })
    .describe(
      'Path for GET; each check uses a connection of its own, with the TLS settings of the upstream.',
    ),
  expect: z.array(statusRange).min(1).prefault(['200-299']).describe('Statuses of a healthy node.'),
  interval: duration(100, DAY_MS)
    .prefault('5s')
    .describe('Time between two checks of a node, plus or minus a tenth.'),
  timeout: duration(10, 60_000).prefault('1s').describe('For connecting and receiving the response head.'),
  unhealthyAfter: count(1, 100)
    .prefault(3)
    .describe(
      'Failed checks in a row that take a node out. A node starts healthy, and its first check alone decides.',
    ),
  healthyAfter: count(1, 100).prefault(2).describe('Successful checks in a row that bring it back.'),
});

const ejection = z.strictObject({
  consecutiveFailures: count(1, 1000)
    .prefault(5)
    .describe(
      'Failures in a row that eject a node: no connection, no valid response, or a status of 500 or above.',
    ),
  for: duration(100, DAY_MS)
    .prefault('30s')
    .describe('Duration of the first ejection; each further one in a row is longer by this much.'),
  maxFor: duration(100, DAY_MS).prefault('5m').describe('Longest ejection.'),
  maxShare: percent
    .prefault('50%')
    .describe('Largest share of nodes ejected at once; a single node is never ejected.'),
});

const breaker = z.strictObject({
  timeout: duration(10, DAY_MS)
    .prefault('800ms')
    .describe(
      'Wait after which the breaker counts a failure: for a connection, or for the first byte of the response to a request without a body. The request itself goes on until `timeouts` end it; after a body only those count.',
    ),
  errorThreshold: percent
    .prefault('50%')
    .describe(
      'Share of failed requests in the last 10 s at which the breaker opens. Streams that break off and statuses of 500 or above count as failures; requests that callers break off do not.',
    ),
  minimumRequests: count(1, 100_000)
    .prefault(10)
    .describe(
      'With fewer requests in 10 s the breaker never opens; a stream that breaks off after its first byte counts once more.',
    ),
  sleepWindow: duration(100, DAY_MS)
    .prefault('30s')
    .describe(
      'How long the node gets no requests; then one trial request closes the breaker or opens it again.',
    ),
  maxConcurrent: count(1, 65_535)
    .prefault(20)
    .describe(
      'Requests that may wait for a node at once, from connecting to the first byte of the response; time spent sending a body does not count.',
    ),
});

export const upstream = z.strictObject({
  nodes: z
    .array(node)
    .min(1)
    .max(1000)
    .describe(
      '`http://host:port` or `https://host:port` of each sync node; a host name with several addresses counts as several nodes.',
    ),
  tls: clientTls
    .optional()
    .describe('TLS settings for https nodes; the files are read again when they change.'),
  balance: z
    .enum(['leastRequests', 'roundRobin', 'hash'])
    .prefault('leastRequests')
    .describe(
      'How a node is chosen: `leastRequests`: the less busy of two drawn by weight; `roundRobin`: in turn; `hash`: by `hashOn`.',
    ),
  hashOn: z
    .string()
    .prefault('{model_id}')
    .describe('Path parameters; requests in which they are equal go to the same node, load permitting.'),
  slowStart: duration(0, DAY_MS)
    .prefault('0ms')
    .describe('Time over which a new or returning node grows to its full share.'),
  resolve: duration(1000, DAY_MS)
    .prefault('30s')
    .describe('How often host names of nodes are looked up; a failed look-up keeps the last good addresses.'),
  health: health
    .optional()
    .describe('Active health checks; without them a node counts as healthy until requests fail.'),
  ejection: ejection
    .optional()
    .describe('Takes out nodes on which requests keep failing; without it no node is ejected.'),
  breaker: breaker.prefault({}),
  timeouts: z
    .strictObject({
      connect: duration(10, 60_000).prefault('2s').describe('For connecting to a node.'),
      firstByte: duration(10, DAY_MS)
        .prefault('30s')
        .describe('From the last byte of the request to the first byte of the response.'),
    })
    .prefault({}),
  connections: z
    .strictObject({
      max: count(1, 65_535).prefault(64).describe('Open connections per node.'),
      idle: duration(100, DAY_MS).prefault('30s').describe('How long an unused connection is kept.'),
    })
    .prefault({}),
});

export type UpstreamFile = z.output<typeof upstream>;
