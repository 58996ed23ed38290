/** Schema of `gateway.yaml`: the process, its listeners, limits and timeouts. */

import { z } from 'zod';
import { withoutCredentials } from '../core/credentials.ts';
import { clientTls, tlsVersion } from './client-tls-file.ts';
import { count, duration, hostPort, name, prefix, read, size } from './schema-types.ts';

const HOUR_MS = 3_600_000;

export const clientCertificates = z
  .enum(['require', 'optional', 'none'])
  .describe('Whether callers must present a certificate; with `optional` each route decides.');

export const minTlsVersion = tlsVersion.describe('The oldest TLS version accepted.');

const listener = z.strictObject({
  name: name.describe('The name of the listener in metrics and logs.'),
  address: hostPort.describe('Address and port to listen on.'),
  trustedProxies: z
    .array(prefix)
    .prefault([])
    .describe('Peers whose PROXY header or forwarding header is trusted.'),
  proxyProtocol: z
    .enum(['off', 'accept', 'require'])
    .prefault('off')
    .describe(
      'Whether connections from trusted proxies may (`accept`) or must (`require`) begin with a PROXY header.',
    ),
  forwardedHeader: z
    .enum(['x-forwarded-for', 'forwarded'])
    .prefault('x-forwarded-for')
    .describe('The forwarding header that is read; the other one is ignored.'),
  clientCertificates: clientCertificates.prefault('require'),
  minTlsVersion: minTlsVersion.prefault('TLSv1.3'),
  sessionResumption: z
    .enum(['bound', 'off'])
    .prefault('bound')
    .describe(
      '`bound`: a TLS session resumes only under the same server name, or another name of the same wildcard; `off`: never.',
    ),
});

const limits = z.strictObject({
  headBytes: size(1024, 262_144)
    .prefault('32KiB')
    .describe('Size of a request head: start line and fields together.'),
  headFields: count(1, 1000).prefault(100).describe('Number of field lines in a request head.'),
  connections: count(1, 1_000_000).prefault(10_000).describe('Open connections per listener.'),
  connectionsPerAddress: count(1, 1_000_000).prefault(512).describe('Open connections per peer address.'),
  handshakes: count(1, 1_000_000).prefault(1024).describe('TLS handshakes in progress at once.'),
  serverNames: count(1, 1_000_000)
    .prefault(1000)
    .describe('Server names whose certificates are kept in memory.'),
  bufferedBytes: size(65_536, 2 ** 40)
    .prefault('256MiB')
    .describe(
      'Bytes buffered for all callers together. Above it reading stops; if that does not help, the newest streams are ended.',
    ),
});

const timeouts = z.strictObject({
  handshake: duration(100, HOUR_MS)
    .prefault('10s')
    .describe('For the ClientHello, and again for the TLS handshake.'),
  head: duration(100, HOUR_MS).prefault('10s').describe('From the first byte of a request head to the last.'),
  keepAliveIdle: duration(100, 24 * HOUR_MS)
    .prefault('60s')
    .describe('Idle time between two requests on a connection.'),
  streamIdle: duration(100, 24 * HOUR_MS)
    .prefault('60s')
    .describe('Time without a byte in either direction.'),
  linger: duration(0, 60_000)
    .prefault('2s')
    .describe('How long the gateway keeps reading after it answered before the end of the body.'),
  drain: duration(0, 24 * HOUR_MS)
    .prefault('30s')
    .describe('How long requests may run on after SIGTERM.'),
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

/** Keys beside the address of a server that say how to connect to it. */
const access = {
  tls: clientTls.optional().describe('TLS settings; the files are read again when they change.'),
  user: z.string().min(1).max(256).optional().describe('The user to log in as.'),
  passwordFile: z
    .string()
    .min(1)
    .optional()
    .describe('File that holds the password and nothing else; read again when it changes.'),
};

export const gatewayFile = z.strictObject({
  gateway: z.strictObject({
    listeners: z.array(listener).min(1).max(100).describe('Addresses the gateway listens on.'),
    certificates: z
      .string()
      .min(1)
      .prefault('../certs')
      .describe('Folder that holds one folder per server name.'),
    admin: z
      .strictObject({
        address: hostPort
          .prefault('127.0.0.1:9901')
          .describe('Address of the admin listener: metrics, health, policy, reload.'),
      })
      .prefault({}),
    workers: z
      .union([z.literal('auto'), count(1, 256)], { error: '`auto` or a number from 1 to 256' })
      .prefault('auto')
      .describe(
        'Number of processes that accept connections; `auto`: one per available core. Read only at start.',
      ),
    limits: limits.prefault({}),
    timeouts: timeouts.prefault({}),
    accessLog: z
      .strictObject({
        file: z
          .string()
          .min(1)
          .prefault('-')
          .describe('Where the access log goes, as JSON lines; `-` is standard output.'),
      })
      .prefault({}),
    audit: z
      .strictObject({
        file: z.string().min(1).describe('Where it is written, as hash-chained JSON lines.'),
        rotateAt: size(4096, 2 ** 40)
          .prefault('100MiB')
          .describe('Size at which the file is rotated; the chain continues in the next file.'),
        keep: count(1, 1_000_000).optional().describe('Rotated files to keep; all of them unless given.'),
        onFailure: z
          .enum(['refuse', 'count'])
          .prefault('refuse')
          .describe(
            'While the log cannot be written: `refuse` answers 503 on these routes, `count` admits requests and counts lost lines.',
          ),
      })
      .optional()
      .describe('The audit log: decisions on routes that require `publish` or `finetune`.'),
    state: z
      .strictObject({
        redis: read(redisAddress, 'redis://host:port or rediss://host:port', withoutCredentials).describe(
          'Address of Redis.',
        ),
        ...access,
        prefix: z
          .string()
          .regex(/^[A-Za-z0-9:._-]{1,64}$/, { error: 'up to 64 letters, digits and : . _ -' })
          .prefault('patchgate:')
          .describe('Prefix of the keys that hold limits; gateways with the same prefix share their limits.'),
        onFailure: z
          .enum(['local', 'deny', 'allow'])
          .prefault('local')
          .describe(
            'While Redis is unavailable: `local` lets each gateway count its own part of a limit, `deny` answers 503, `allow` admits.',
          ),
      })
      .optional()
      .describe('Redis, which holds the limits that gateways share, and lists.'),
    etcd: z
      .strictObject({
        endpoints: z
          .array(read(httpOrigin, 'http://host:port or https://host:port', withoutCredentials))
          .min(1)
          .max(16)
          .describe('Members of the etcd cluster, tried in turn.'),
        ...access,
        tenants: read(keyPrefix, 'a prefix like /patchgate/tenants/')
          .optional()
          .describe(
            'Prefix of the tenants kept in etcd, in addition to those on disk; the key `<prefix><tenant>.yaml` holds the text of the tenant file.',
          ),
      })
      .optional()
      .describe('etcd, which holds lists and tenants.'),
  }),
});

export type GatewayFile = z.output<typeof gatewayFile>;
