/** One line of the access log: its fields, their keys, and how a line is written. */

import type { ConnectionFacts } from '../core/facts.ts';
import { textMember } from '../core/json-text.ts';

/** What is known of a request at its end. Absent fields are left out of the line. */
export interface AccessEntry {
  /** Wall clock at the end of the exchange, milliseconds since the epoch. */
  readonly timeMs: number;
  readonly requestId: string;
  /** The same object for every request of a connection, as long as nothing of it changes. */
  readonly connection: ConnectionFacts;
  /** The same object for every request with that token. */
  readonly token?: LoggedToken | undefined;
  readonly tenant?: string | undefined;
  readonly route?: string | undefined;
  readonly clientAddress?: string | undefined;
  readonly method?: string | undefined;
  /** The path alone: a query string never enters the log. */
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
  /** What a route in shadow would have refused the request for. */
  readonly shadowStep?: string | undefined;
  readonly shadowCode?: string | undefined;
  /** Why, in words that are for the log alone. */
  readonly cause?: string | undefined;
  readonly endedBy?: string | undefined;
}

/** What a line tells of a token. */
export interface LoggedToken {
  readonly subject: string;
  readonly jti?: string;
  /** The claims a decision may rest on: JSON on one line, written as it is. */
  readonly logged?: string;
}

/** The keys of a line in their order, under OpenTelemetry's names where it has one. */
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

/** A line in the pieces it is written in, one behind the other: made anew, or bytes that are there already. */
export interface LinePieces {
  readonly start: string;
  readonly connection: Buffer;
  readonly request: string;
  readonly token: Buffer;
  readonly rest: string;
}

/** The most bytes a line takes: characters become three bytes of UTF-8 at most. */
export function mostBytes({ start, connection, request, token, rest }: LinePieces): number {
  return (start.length + request.length + rest.length) * 3 + connection.length + token.length;
}

/** Writes the line at `at`, where it has room; gives back where it ends. */
export function writeLine(pieces: LinePieces, target: Buffer, at: number): number {
  let end = at + target.write(pieces.start, at);
  end += pieces.connection.copy(target, end);
  end += target.write(pieces.request, end);
  end += pieces.token.copy(target, end);
  return end + target.write(pieces.rest, end);
}

const NOTHING = Buffer.alloc(0);

/** Makes lines, and remembers what the lines of a connection and of a token have in common as long as these live. */
export class AccessLines {
  readonly #connections = new WeakMap<ConnectionFacts, Buffer>();
  readonly #tokens = new WeakMap<LoggedToken, Buffer>();
  #secondMs = Number.NaN;
  #secondText = '';

  /** The line with its newline: one JSON object, no byte in it that could start another line. */
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

  /** Lines come by the thousand in a second: its text is made once. */
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

/** Microseconds are as fine as a duration is known. */
function formatNumber(value: number): string {
  if (Number.isInteger(value)) return String(value);
  if (!Number.isFinite(value)) return 'null';
  // Two integers are printed many times faster than a fraction.
  const thousandths = Math.round(value * 1000);
  const rest = thousandths % 1000;
  const whole = (thousandths - rest) / 1000;
  return rest === 0 ? String(whole) : `${whole}.${String(rest).padStart(3, '0')}`;
}

function withoutQuery(path: string): string {
  const mark = path.indexOf('?');
  return mark < 0 ? path : path.slice(0, mark);
}
