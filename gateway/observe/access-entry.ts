/** One line of the access log: its fields, their keys, and how a line is written. */

/** What is known of a request at its end. Absent fields are left out of the line. */
export interface AccessEntry {
  /** Wall clock at the end of the exchange, milliseconds since the epoch. */
  readonly timeMs: number;
  readonly requestId: string;
  readonly listener?: string | undefined;
  readonly tenant?: string | undefined;
  readonly route?: string | undefined;
  readonly serverName?: string | undefined;
  readonly clientAddress?: string | undefined;
  readonly peerAddress?: string | undefined;
  readonly peerPort?: number | undefined;
  readonly method?: string | undefined;
  /** The path alone: a query string never enters the log. */
  readonly path?: string | undefined;
  readonly status: number;
  readonly durationMs: number;
  /** Body bytes received from the caller. */
  readonly bytesIn: number;
  /** Body bytes sent to the caller. */
  readonly bytesOut: number;
  readonly tlsVersion?: string | undefined;
  readonly tlsResumed?: boolean | undefined;
  readonly certificateSubject?: string | undefined;
  /** Alternative names as OpenSSL prints them. */
  readonly certificateNames?: string | undefined;
  readonly certificateSerial?: string | undefined;
  /** SHA-256 of the certificate, hexadecimal. */
  readonly certificateHash?: string | undefined;
  readonly tokenSubject?: string | undefined;
  readonly tokenId?: string | undefined;
  /** JSON on one line, written as it is. */
  readonly tokenClaims?: string | undefined;
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

type LoggedField = Exclude<keyof AccessEntry, 'timeMs'>;

/** Fields in the order of the line, under OpenTelemetry's names where it has one. */
export const accessKeys = {
  requestId: 'request.id',
  listener: 'listener',
  tenant: 'tenant',
  route: 'route',
  serverName: 'server.address',
  clientAddress: 'client.address',
  peerAddress: 'network.peer.address',
  peerPort: 'network.peer.port',
  method: 'http.request.method',
  path: 'url.path',
  status: 'http.response.status_code',
  durationMs: 'duration_ms',
  bytesIn: 'bytes_in',
  bytesOut: 'bytes_out',
  tlsVersion: 'tls.protocol.version',
  tlsResumed: 'tls.resumed',
  certificateSubject: 'tls.client.subject',
  certificateNames: 'tls.client.names',
  certificateSerial: 'tls.client.serial',
  certificateHash: 'tls.client.hash.sha256',
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
} as const satisfies Record<LoggedField, string>;

const VALUE_CHARACTERS = 2048;

const columns = (Object.keys(accessKeys) as LoggedField[]).map((field) => ({
  field,
  opening: `,"${accessKeys[field]}":`,
}));

/** The line with its newline: one JSON object, no byte in it that could start another line. */
export function formatAccessLine(entry: AccessEntry): string {
  let line = `{"time":"${new Date(entry.timeMs).toISOString()}"`;
  for (const { field, opening } of columns) {
    const value = entry[field];
    if (value !== undefined) line += opening + formatValue(field, value);
  }
  return `${line}}\n`;
}

function formatValue(field: LoggedField, value: string | number | boolean): string {
  if (field === 'tokenClaims') return String(value);
  if (typeof value === 'string') return formatText(field === 'path' ? withoutQuery(value) : value);
  if (typeof value === 'number') return formatNumber(value);
  return value ? 'true' : 'false';
}

/** Microseconds are as fine as a duration is known. */
function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return 'null';
  return String(Math.round(value * 1000) / 1000);
}

function withoutQuery(path: string): string {
  const mark = path.indexOf('?');
  return mark < 0 ? path : path.slice(0, mark);
}

/** Printable ASCII that needs no escape: the only text that goes in as it is. */
const PLAIN = /^[ !#-[\]-~]*$/;
/** What `JSON.stringify` leaves as it is though a terminal or a line reader may act on it. */
const ACTIVE = /[\u007f-\u009f\u2028\u2029]/g;

function formatText(text: string): string {
  const capped = text.length > VALUE_CHARACTERS ? text.slice(0, VALUE_CHARACTERS) : text;
  if (PLAIN.test(capped)) return `"${capped}"`;
  return JSON.stringify(capped).replace(ACTIVE, escapeCharacter);
}

const escapeCharacter = (character: string): string =>
  `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
