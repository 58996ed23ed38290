/** An upstream as a tenant's file writes it: its nodes, how one is chosen, and how they are watched. */

import { z } from 'zod';
import { checkPath } from '../core/request-target.ts';
import { clientTls } from './client-tls-file.ts';
import { count, duration, percent } from './schema-types.ts';

const DAY_MS = 86_400_000;

const node = z.union([
  z.string(),
  z.strictObject({
    url: z.string().describe('http://host:port or https://host:port.'),
    weight: count(1, 1000)
      .prefault(1)
      .describe('Its share of the requests beside the others, for each of its addresses.'),
  }),
]);

/** Statuses from the first to the last, both counted in. */
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
  context.issues.push({ code: 'custom', message: `"${text}" cannot be read`, params, input: value });
  return z.NEVER;
});

const health = z.strictObject({
  path: z
    .string()
    .refine((path) => typeof checkPath(path) !== 'string', { error: 'is no path' })
    .describe('Asked for by GET, on a connection of its own, over the same TLS as requests.'),
  expect: z.array(statusRange).min(1).prefault(['200-299']).describe('Statuses of a node that is well.'),
  interval: duration(100, DAY_MS)
    .prefault('5s')
    .describe('Between two checks of a node, a tenth more or less.'),
  timeout: duration(10, 60_000).prefault('1s').describe('For the connection and the head of the answer.'),
  unhealthyAfter: count(1, 100)
    .prefault(3)
    .describe(
      'Failed checks in a row that take a node out. A node begins well, and its first check decides alone.',
    ),
  healthyAfter: count(1, 100).prefault(2).describe('Good checks in a row that bring it back.'),
});

const ejection = z.strictObject({
  consecutiveFailures: count(1, 1000)
    .prefault(5)
    .describe(
      'Failures in a row that eject a node: no connection, no or no good response, or a status from 500 up.',
    ),
  for: duration(100, DAY_MS)
    .prefault('30s')
    .describe('The first time; each further time in a row so much longer.'),
  maxFor: duration(100, DAY_MS).prefault('5m').describe('At most.'),
  maxShare: percent.prefault('50%').describe('Of the nodes ejected at once; of one node alone, none.'),
});

const breaker = z.strictObject({
  timeout: duration(10, DAY_MS)
    .prefault('800ms')
    .describe(
      'A node waited for so long has failed, for its breaker: to be connected to, or for the first byte of the response to a request without a body. The request itself goes on, until `timeouts` end it; after a body only these count, for what a node does with it takes its time.',
    ),
  errorThreshold: percent
    .prefault('50%')
    .describe(
      'Failed requests of the last 10 s at which the breaker opens: also streams that break off, and statuses from 500 up. What callers break off does not count.',
    ),
  minimumRequests: count(1, 100_000)
    .prefault(10)
    .describe(
      'Fewer in 10 s never open it; a stream that breaks off behind its first byte counts as one more.',
    ),
  sleepWindow: duration(100, DAY_MS)
    .prefault('30s')
    .describe(
      'The node gets no request for so long, then one on trial: it closes the breaker or opens it again.',
    ),
  maxConcurrent: count(1, 65_535)
    .prefault(20)
    .describe(
      'Requests a node is waited for at once, connection to first byte; a body on its way does not count.',
    ),
});

export const upstream = z.strictObject({
  nodes: z
    .array(node)
    .min(1)
    .max(1000)
    .describe('http://host:port or https://host:port of each sync node; each address of a name is one.'),
  tls: clientTls('nodes')
    .optional()
    .describe('For nodes over https; the files are read again when they change.'),
  balance: z
    .enum(['leastRequests', 'roundRobin', 'hash'])
    .prefault('leastRequests')
    .describe('How a node is chosen: the less busy of two drawn by weight, each in turn, or by `hashOn`.'),
  hashOn: z
    .string()
    .prefault('{model_id}')
    .describe(
      'Parameters of the path: requests in which they are the same go to the same node, load permitting.',
    ),
  slowStart: duration(0, DAY_MS)
    .prefault('0ms')
    .describe('A node that comes, or comes back, grows to its share over so long.'),
  resolve: duration(1000, DAY_MS)
    .prefault('30s')
    .describe('Names of nodes are looked up so often; a look-up that fails leaves the last good addresses.'),
  health: health.optional().describe('Checks of every node; without it a node is well until requests fail.'),
  ejection: ejection.optional().describe('Takes nodes out by what comes of requests; without it none is.'),
  breaker: breaker.prefault({}),
  timeouts: z
    .strictObject({
      connect: duration(10, 60_000).prefault('2s').describe('For the connection to a node.'),
      firstByte: duration(10, DAY_MS)
        .prefault('30s')
        .describe('From the last byte sent to the first received.'),
    })
    .prefault({}),
  connections: z
    .strictObject({
      max: count(1, 65_535).prefault(64).describe('Connections to one node.'),
      idle: duration(100, DAY_MS).prefault('30s').describe('An unused connection is kept so long.'),
    })
    .prefault({}),
});

export type UpstreamFile = z.output<typeof upstream>;
