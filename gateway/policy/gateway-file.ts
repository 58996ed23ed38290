/** `gateway.yaml` as it is written: the process, its listeners, limits and times. */

import { z } from 'zod';
import { withoutCredentials } from '../core/credentials.ts';
import { clientTls, tlsVersion } from './client-tls-file.ts';
import { count, duration, hostPort, name, prefix, read, size } from './schema-types.ts';

const HOUR_MS = 3_600_000;

export const clientCertificates = z
  .enum(['require', 'optional', 'none'])
  .describe('Whether callers show a certificate; with `optional` the routes decide.');

export const minTlsVersion = tlsVersion.describe('The oldest TLS version accepted.');

const listener = z.strictObject({
  name: name.describe('Names the listener in metrics and log.'),
  address: hostPort.describe('Where it listens.'),
  trustedProxies: z.array(prefix).prefault([]).describe('Peers whose forwarding header is believed.'),
  proxyProtocol: z
    .enum(['off', 'accept', 'require'])
    .prefault('off')
    .describe('Whether connections of trusted proxies may, or must, begin with a PROXY header.'),
  forwardedHeader: z
    .enum(['x-forwarded-for', 'forwarded'])
    .prefault('x-forwarded-for')
    .describe('The one forwarding header that counts.'),
  clientCertificates: clientCertificates.prefault('require'),
  minTlsVersion: minTlsVersion.prefault('TLSv1.3'),
  sessionResumption: z
    .enum(['bound', 'off'])
    .prefault('bound')
    .describe(
      '`bound`: a session resumes under its own server name only, or one of the same wildcard; `off`: never.',
    ),
});

const limits = z.strictObject({
  headBytes: size(1024, 262_144).prefault('32KiB').describe('Start line and fields of a request together.'),
  headFields: count(1, 1000).prefault(100).describe('Field lines of a request.'),
  connections: count(1, 1_000_000).prefault(10_000).describe('Open connections of a listener.'),
  connectionsPerAddress: count(1, 1_000_000).prefault(512).describe('Open connections of one peer address.'),
  handshakes: count(1, 1_000_000).prefault(1024).describe('TLS handshakes under way at once.'),
  serverNames: count(1, 1_000_000).prefault(1000).describe('Server names whose certificates are kept ready.'),
  bufferedBytes: size(65_536, 2 ** 40)
    .prefault('256MiB')
    .describe('Bytes held for all callers together; over it nothing is read, then the newest streams end.'),
});

const timeouts = z.strictObject({
  handshake: duration(100, HOUR_MS).prefault('10s').describe('ClientHello and TLS handshake, each.'),
  head: duration(100, HOUR_MS).prefault('10s').describe('From the first byte of a request head to its last.'),
  keepAliveIdle: duration(100, 24 * HOUR_MS)
    .prefault('60s')
    .describe('Between two requests of a connection.'),
  streamIdle: duration(100, 24 * HOUR_MS)
    .prefault('60s')
    .describe('Without a byte in either direction.'),
  linger: duration(0, 60_000).prefault('2s').describe('Reading on after an early answer.'),
  drain: duration(0, 24 * HOUR_MS)
    .prefault('30s')
    .describe('For requests to end after SIGTERM.'),
});

const urlOf = (text: string): URL | undefined => (URL.canParse(text) ? new URL(text) : undefined);

function redisAddress(text: string): string | undefined {
  const url = urlOf(text);
  return url !== undefined && /^rediss?:$/.test(url.protocol) && url.hostname !== '' ? text : undefined;
}

function httpOrigin(text: string): string | undefined {
  const url = urlOf(text);
  const plain = url !== undefined && /^https?:$/.test(url.protocol) && `${url.origin}/` === url.href;
  return plain ? url.origin : undefined;
}

const keyPrefix = (text: string): string | undefined =>
  /^\/(?:[A-Za-z0-9._-]+\/)+$/.test(text) ? text : undefined;

/** How a server is reached whose address stands beside it. */
const access = (server: string) => ({
  tls: clientTls(server).optional().describe('Over TLS; the files are read again when they change.'),
  user: z.string().min(1).max(256).optional().describe(`Who the gateway is in ${server}.`),
  passwordFile: z
    .string()
    .min(1)
    .optional()
    .describe('A file with the password and nothing else; read again when it changes.'),
});

export const gatewayFile = z.strictObject({
  gateway: z.strictObject({
    listeners: z.array(listener).min(1).max(100).describe('Addresses the gateway answers at.'),
    certificates: z.string().min(1).prefault('../certs').describe('Folder with one folder a server name.'),
    admin: z
      .strictObject({
        address: hostPort.prefault('127.0.0.1:9901').describe('Metrics, health, policy, reload.'),
      })
      .prefault({}),
    workers: z
      .union([z.literal('auto'), count(1, 256)], { error: '`auto` or a number from 1 to 256' })
      .prefault('auto')
      .describe('Processes that take connections; `auto`: one for each core. Read at the start.'),
    limits: limits.prefault({}),
    timeouts: timeouts.prefault({}),
    accessLog: z
      .strictObject({ file: z.string().min(1).prefault('-').describe('JSON lines; `-` is standard output.') })
      .prefault({}),
    audit: z
      .strictObject({
        file: z
          .string()
          .min(1)
          .describe('Decisions of routes that ask for `publish` or `finetune`, as hash-chained JSON lines.'),
        rotateAt: size(4096, 2 ** 40)
          .prefault('100MiB')
          .describe('A file that large is put aside, and the chain goes on in the next.'),
        keep: count(1, 1_000_000).optional().describe('Files put aside that stay; all, unless given.'),
        onFailure: z
          .enum(['refuse', 'count'])
          .prefault('refuse')
          .describe(
            'While it cannot be written: `refuse` answers 503 on these routes, `count` admits and counts.',
          ),
      })
      .optional(),
    state: z
      .strictObject({
        redis: read(redisAddress, 'redis://host:port or rediss://host:port', withoutCredentials).describe(
          'Redis, where gateways share the limits of routes, and for lists kept there.',
        ),
        ...access('Redis'),
        prefix: z
          .string()
          .regex(/^[A-Za-z0-9:._-]{1,64}$/, { error: 'up to 64 letters, digits and : . _ -' })
          .prefault('patchgate:')
          .describe('What the keys of limits begin with: gateways with the same share theirs.'),
        onFailure: z
          .enum(['local', 'deny', 'allow'])
          .prefault('local')
          .describe(
            'While Redis cannot be asked: each gateway counts for itself with its part of a limit, refuses (503), or admits.',
          ),
      })
      .optional(),
    etcd: z
      .strictObject({
        endpoints: z
          .array(read(httpOrigin, 'http://host:port or https://host:port', withoutCredentials))
          .min(1)
          .max(16)
          .describe('Members of the etcd that keeps lists or tenants, asked in turn.'),
        ...access('etcd'),
        tenants: read(keyPrefix, 'a prefix like /patchgate/tenants/')
          .optional()
          .describe(
            'Prefix of tenants in etcd, beside those on disk: its key `<tenant>.yaml` is a text like that file.',
          ),
      })
      .optional(),
  }),
});

export type GatewayFile = z.output<typeof gatewayFile>;
