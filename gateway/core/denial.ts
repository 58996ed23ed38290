/** Refusals as values: one table from code to status, fault and title, read by the log, the metrics and the body. */

/** The steps a request passes, in order; a denial and a decision metric name one of them. */
export type Step =
  | 'head'
  | 'route'
  | 'client'
  | 'allowlist'
  | 'certificate'
  | 'token'
  | 'scope'
  | 'claims'
  | 'limits'
  | 'node'
  | 'stream';

/** Who must change something before the same request can succeed. */
export type Fault = 'caller' | 'upstream' | 'gateway';

/** One row of the table. `status` is the HTTP status (RFC 9110 §15; 421, 429 and 431 by RFC 9110 and RFC 6585). */
export interface DenialRow {
  readonly status: number;
  readonly fault: Fault;
  readonly title: string;
}

/**
 * Every refusal of the gateway. `bad-request` answers 417 to an unsupported expectation and 501 to an unknown transfer
 * coding, `head-too-large` 414 if the request target alone is too long, and `patch-invalid` the status of the broken
 * rule (WPF1: 400, 403, 409, 413 or 422).
 */
export const denials = {
  'bad-request': { status: 400, fault: 'caller', title: 'The request is malformed' },
  'head-too-large': { status: 431, fault: 'caller', title: 'The request head is too large' },
  'head-timeout': { status: 408, fault: 'caller', title: 'The request head took too long' },
  'not-found': { status: 404, fault: 'caller', title: 'No route matches' },
  'method-not-allowed': { status: 405, fault: 'caller', title: 'The route does not allow this method' },
  misdirected: { status: 421, fault: 'caller', title: 'Host is not the server name of this connection' },
  'bad-forwarding': { status: 400, fault: 'caller', title: 'The forwarding header cannot be read' },
  'address-denied': { status: 403, fault: 'caller', title: 'The client address is not allowed' },
  'certificate-required': { status: 403, fault: 'caller', title: 'A client certificate is required' },
  'certificate-denied': { status: 403, fault: 'caller', title: 'The client certificate is not accepted' },
  'token-missing': { status: 401, fault: 'caller', title: 'A bearer token is required' },
  'token-malformed': { status: 401, fault: 'caller', title: 'The bearer token is malformed' },
  'token-invalid': { status: 401, fault: 'caller', title: 'The bearer token is not valid' },
  'token-expired': { status: 401, fault: 'caller', title: 'The bearer token has expired' },
  'token-unbound': { status: 401, fault: 'caller', title: 'The token is not bound to this certificate' },
  'token-revoked': { status: 401, fault: 'caller', title: 'The bearer token was revoked' },
  'insufficient-scope': { status: 403, fault: 'caller', title: 'The token lacks the scope' },
  'claim-denied': { status: 403, fault: 'caller', title: 'A claim of the token does not allow this' },
  'upgrade-required': { status: 426, fault: 'caller', title: 'The request must switch protocols' },
  'rate-limited': { status: 429, fault: 'caller', title: 'Too many requests' },
  'concurrency-limited': { status: 429, fault: 'caller', title: 'Too many requests at once' },
  'bytes-exhausted': { status: 429, fault: 'caller', title: 'The byte budget is used up' },
  'body-too-large': { status: 413, fault: 'caller', title: 'The body is too large' },
  'stream-idle': { status: 408, fault: 'caller', title: 'The stream was idle for too long' },
  'too-slow': { status: 408, fault: 'caller', title: 'The stream is too slow' },
  'patch-invalid': { status: 422, fault: 'caller', title: 'The weight patch is not valid' },
  'limits-unavailable': { status: 503, fault: 'gateway', title: 'The shared limits are unavailable' },
  'node-unavailable': { status: 503, fault: 'upstream', title: 'No node can take the request' },
  'node-timeout': { status: 504, fault: 'upstream', title: 'The node did not answer in time' },
  'node-failed': { status: 502, fault: 'upstream', title: 'The node failed' },
  'breaker-open': { status: 503, fault: 'upstream', title: 'The circuit breaker of the node is open' },
  draining: { status: 503, fault: 'gateway', title: 'The gateway is shutting down' },
  'audit-unavailable': { status: 503, fault: 'gateway', title: 'The audit log cannot be written' },
  overloaded: { status: 503, fault: 'gateway', title: 'The gateway is overloaded' },
} as const satisfies Record<string, DenialRow>;

export type DenialCode = keyof typeof denials;

/** A refusal. `detail` may be shown to the caller; `cause` is only logged. */
export interface Denial {
  readonly kind: 'denial';
  readonly code: DenialCode;
  readonly step: Step;
  /** One sentence for the caller: what is wrong with the request, never how the gateway is configured. */
  readonly detail: string;
  /** For the log only: keys, lists, upstream names, error texts of libraries. */
  readonly cause?: string;
  /** The policy key that decided, such as `require.scope` of a route or `tenant.allow` of its tenant. */
  readonly rule?: string;
  /** For the metric: the issuer of a refused token, by its name in the policy, if the token was new and names one. */
  readonly issuer?: string;
  /** Replaces the status of the table, for the three codes that allow it. */
  readonly status?: number;
  /** Scope to name in `WWW-Authenticate` (RFC 6750 §3). */
  readonly scope?: string;
  /** Methods to name in `Allow` (RFC 9110 §10.2.1). */
  readonly allow?: readonly string[];
  /** Seconds to name in `Retry-After`. */
  readonly retryAfterS?: number;
  /** Field lines of the limits that refused, each ending in CRLF. */
  readonly quotaLines?: string;
  /** Further members of the problem body (RFC 9457 §3.2). */
  readonly extension?: Readonly<Record<string, string | number>>;
}

/** Makes a denial; `more` adds what the code needs besides `detail`. */
export function deny(
  step: Step,
  code: DenialCode,
  detail: string,
  more: Omit<Denial, 'kind' | 'code' | 'step' | 'detail'> = {},
): Denial {
  return { kind: 'denial', code, step, detail, ...more };
}

/** Distinguishes a denial from the other results of a step. */
export function isDenial(value: unknown): value is Denial {
  return typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'denial';
}

/** The HTTP status of the answer. */
export function statusOf(denial: Denial): number {
  return denial.status ?? denials[denial.code].status;
}
