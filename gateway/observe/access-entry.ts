/** One line of the access log: its fields, their keys, and its encoding. */

import type { ConnectionFacts } from '../core/facts.ts';
import { textMember } from '../core/json-text.ts';

/** What is known about a request when it ends. Absent fields are omitted from the line. */
export interface AccessEntry {
  /** Wall clock at the end of the exchange, milliseconds since the epoch. */
  readonly timeMs: number;
  readonly requestId: string;
  /** The same object for every request of a connection until one of the facts changes. */
  readonly connection: ConnectionFacts;
  /** The same object for every request with the same token. */
  readonly token?: LoggedToken | undefined;
  readonly tenant?: string | undefined;
  readonly route?: string | undefined;
  readonly clientAddress?: string | undefined;
  readonly method?: string | undefined;
  /** A query string is cut off and never logged. */
  readonly path?: string | undefined;
  readonly status: number;
  readonly durationMs: number;
  /** Body bytes received from the caller. */
  readonly bytesIn: number;
  /** Body bytes sent to the caller. */
  readonly bytesOut: number;
  readonly modelId?: string | undefined;
  readonly node?: string | undefined;
  readonly policyGeneration?: number | undefined;
  readonly decisionStep?: string | undefined;
  readonly denialCode?: string | undefined;
  /** The key of the policy that decided. */
  readonly denialRule?: string | undefined;
  /** Why a route in shadow mode would have refused the request. */
  readonly shadowStep?: string | undefined;
  readonly shadowCode?: string | undefined;
  /** The reason in words; for the log only. */
  readonly cause?: string | undefined;
  readonly endedBy?: string | undefined;
}

/** The logged facts of a token. */
export interface LoggedToken {
  readonly subject: string;
  readonly jti?: string;
  /** The claims that a decision may depend on: JSON on one line, written verbatim. */
  readonly logged?: string;
}

/** The keys of a line, in order; OpenTelemetry names where they exist. */
export const accessKeys = {
  requestId: 'request.id',
  listener: 'listener',
  serverName: 'server.address',
  peerAddress: 'network.peer.address',
  peerPort: 'network.peer.port',
  tlsVersion: 'tls.protocol.version',
  tlsResumed: 'tls.resumed',
  certificateSubject: 'tls.client.subject',
  certificateNames: 'tls.client.names',
  certificateSerial: 'tls.client.serial',
  certificateHash: 'tls.client.hash.sha256',
  tenant: 'tenant',
  route: 'route',
  clientAddress: 'client.address',
  method: 'http.request.method',
  path: 'url.path',
  status: 'http.response.status_code',
  durationMs: 'duration_ms',
  bytesIn: 'bytes_in',
  bytesOut: 'bytes_out',
  tokenSubject: 'token.sub',
  tokenId: 'token.jti',
  tokenClaims: 'token.claims',
  modelId: 'model_id',
  node: 'upstream.node',
  policyGeneration: 'policy.generation',
  decisionStep: 'decision.step',
  denialCode: 'denial.code',
  denialRule: 'denial.rule',
  shadowStep: 'shadow.step',
  shadowCode: 'shadow.code',
  cause: 'cause',
  endedBy: 'ended_by',
} as const;

type Key = (typeof accessKeys)[keyof typeof accessKeys];

const SECOND_MS = 1000;

/** The pieces of a line, in order: strings made for this line, and bytes that are reused. */
export interface LinePieces {
  readonly start: string;
  readonly connection: Buffer;
  readonly request: string;
  readonly token: Buffer;
  readonly rest: string;
}

/** Returns an upper bound on the bytes of a line: a UTF-16 unit becomes at most three bytes of UTF-8. */
export function mostBytes({ start, connection, request, token, rest }: LinePieces): number {
  return (start.length + request.length + rest.length) * 3 + connection.length + token.length;
}

/** Writes the line at `at`, where there must be room for it, and returns the offset of its end. */
export function writeLine(pieces: LinePieces, target: Buffer, at: number): number {
  let end = at + target.write(pieces.start, at);
  end += pieces.connection.copy(target, end);
  end += target.write(pieces.request, end);
  end += pieces.token.copy(target, end);
  return end + target.write(pieces.rest, end);
}

const NOTHING = Buffer.alloc(0);

/** Formats lines. Caches the bytes that the lines of a connection or a token share, as long as that object lives. */
export class AccessLines {
  readonly #connections = new WeakMap<ConnectionFacts, Buffer>();
  readonly #tokens = new WeakMap<LoggedToken, Buffer>();
  #secondMs = Number.NaN;
  #secondText = '';

  /** Returns the line with its newline: one JSON object, without a byte that could start another line. */
  pieces(entry: AccessEntry): LinePieces {
    const { token, path } = entry;
    return {
      start: `{"time":"${this.#timeText(entry.timeMs)}"${text('request.id', entry.requestId)}`,
      connection: this.#connectionBytes(entry.connection),
      request:
        text('tenant', entry.tenant) +
        text('route', entry.route) +
        text('client.address', entry.clientAddress) +
        text('http.request.method', entry.method) +
        text('url.path', path === undefined ? undefined : withoutQuery(path)) +
        number('http.response.status_code', entry.status) +
        number('duration_ms', entry.durationMs) +
        number('bytes_in', entry.bytesIn) +
        number('bytes_out', entry.bytesOut),
      token: token === undefined ? NOTHING : this.#tokenBytes(token),
      rest: restText(entry),
    };
  }

  /** Caches the text of the current second, which thousands of lines may share. */
  #timeText(timeMs: number): string {
    const ms = timeMs % SECOND_MS;
    if (timeMs - ms !== this.#secondMs) {
      this.#secondMs = timeMs - ms;
      this.#secondText = new Date(this.#secondMs).toISOString().slice(0, -4);
    }
    return `${this.#secondText}${String(ms).padStart(3, '0')}Z`;
  }

  #connectionBytes(facts: ConnectionFacts): Buffer {
    const known = this.#connections.get(facts);
    if (known !== undefined) return known;
    const written = Buffer.from(connectionText(facts));
    this.#connections.set(facts, written);
    return written;
  }

  #tokenBytes(token: LoggedToken): Buffer {
    const known = this.#tokens.get(token);
    if (known !== undefined) return known;
    const { subject, jti, logged } = token;
    const claims = logged === undefined ? '' : `,"${accessKeys.tokenClaims}":${logged}`;
    const written = Buffer.from(`${text('token.sub', subject)}${text('token.jti', jti)}${claims}`);
    this.#tokens.set(token, written);
    return written;
  }
}

function restText(entry: AccessEntry): string {
  return (
    text('model_id', entry.modelId) +
    text('upstream.node', entry.node) +
    number('policy.generation', entry.policyGeneration) +
    text('decision.step', entry.decisionStep) +
    text('denial.code', entry.denialCode) +
    text('denial.rule', entry.denialRule) +
    text('shadow.step', entry.shadowStep) +
    text('shadow.code', entry.shadowCode) +
    text('cause', entry.cause) +
    `${text('ended_by', entry.endedBy)}}\n`
  );
}

function connectionText({
  listener,
  serverName,
  peer,
  peerPort,
  tlsVersion,
  tlsResumed,
  certificate,
}: ConnectionFacts): string {
  const shown =
    certificate.status === 'verified'
      ? text('tls.client.subject', certificate.subject) +
        text('tls.client.names', certificate.alternativeNames) +
        text('tls.client.serial', certificate.serialNumber) +
        text('tls.client.hash.sha256', certificate.fingerprint)
      : '';
  return (
    text('listener', listener) +
    text('server.address', serverName) +
    text('network.peer.address', peer.text) +
    number('network.peer.port', peerPort) +
    text('tls.protocol.version', tlsVersion) +
    `,"${accessKeys.tlsResumed}":${tlsResumed}${shown}`
  );
}

const text: (key: Key, value: string | undefined) => string = textMember;

function number(key: Key, value: number | undefined): string {
  return value === undefined ? '' : `,"${key}":${formatNumber(value)}`;
}

/** Rounds to thousandths: 12.3456 becomes `12.346`. Durations in ms are known to the microsecond. */
function formatNumber(value: number): string {
  if (Number.isInteger(value)) return String(value);
  if (!Number.isFinite(value)) return 'null';
  // Formatting two integers is many times faster than formatting a fraction.
  const thousandths = Math.round(value * 1000);
  const rest = thousandths % 1000;
  const whole = (thousandths - rest) / 1000;
  return rest === 0 ? String(whole) : `${whole}.${String(rest).padStart(3, '0')}`;
}

function withoutQuery(path: string): string {
  const mark = path.indexOf('?');
  return mark < 0 ? path : path.slice(0, mark);
}
