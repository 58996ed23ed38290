/** The account of one request: exactly one access-log line and one metrics observation, whatever happened to it. */

import { randomUUID } from 'node:crypto';
import type { AuditLog } from '../audit/audit-log.ts';
import type { AuditEntry } from '../audit/entry.ts';
import { type Denial, isDenial } from '../core/denial.ts';
import type { ConnectionFacts, RequestHead, RequestLine } from '../core/facts.ts';
import { fieldValues } from '../core/headers.ts';
import { pathOf } from '../core/request-target.ts';
import type { Admission, Trail } from '../decide.ts';
import type { AccessEntry, AccessLog } from '../observe/access-log.ts';
import type { Metrics, RouteMetrics } from '../observe/metrics.ts';
import type { PatchCheck } from '../patch/check.ts';
import { matchServerName, type Policy, type Tenant } from '../policy/policy.ts';
import { type AuditedRequest, auditEntry, auditedStream, isAudited } from './audit-entries.ts';
import type { Forwarded } from './forwarded.ts';

export interface AccountContext {
  readonly metrics: Metrics;
  readonly accessLog: AccessLog;
  /** Absent if the policy configures none. */
  readonly audit: AuditLog | undefined;
}

/** Which side ended the exchange: `upstream` is the ordinary end of a response. */
export type EndedBy = 'caller' | 'upstream' | 'gateway';

export interface ExchangeEnd {
  readonly status: number;
  readonly endedBy: EndedBy;
  readonly denial?: Denial;
  /** For the logs, if the denial does not say it. */
  readonly cause?: string;
}

/** One direction of a stream. */
interface Moved {
  readonly bytes: number;
  readonly forwarded: Forwarded;
  readonly check?: PatchCheck | undefined;
}

/** The status in logs and metrics if the caller left before an answer, as in nginx; it is never sent. */
export const CALLER_GONE = 499;

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** Opened when the head is read; `close` is called once. */
export class Account {
  readonly requestId: string;
  readonly #context: AccountContext;
  readonly #connection: ConnectionFacts;
  readonly #policy: Policy;
  readonly #head: RequestHead | undefined;
  readonly #line: RequestLine | undefined;
  readonly #startedMs = performance.now();
  /** Filled in by the decision, step by step. */
  readonly trail: Trail = {};
  #streaming: RouteMetrics | undefined;
  #patch: PatchCheck | undefined;
  #node: string | undefined;
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(
    context: AccountContext,
    connection: ConnectionFacts,
    policy: Policy,
    head: RequestHead | Denial,
    line?: RequestLine,
  ) {
    this.#context = context;
    this.#connection = connection;
    this.#policy = policy;
    this.#head = isDenial(head) ? undefined : head;
    this.#line = this.#head ?? line;
    this.requestId = requestIdOf(this.#head);
  }

  /** The node that took the request, by its URL. */
  get node(): string | undefined {
    return this.#node;
  }

  /** Body bytes, in both directions. */
  get movedBytes(): number {
    return this.#bytesIn + this.#bytesOut;
  }

  sentTo(url: string): void {
    this.#node = url;
  }

  /** The gateway sends its own answer, with a body of this many bytes. */
  answered(bytes: number): void {
    this.#bytesOut = bytes;
  }

  /** The request is admitted: its stream counts as active until `close`. */
  admitted(admission: Admission): void {
    const { metrics } = this.#context;
    const { shadowed } = admission;
    if (shadowed === undefined) metrics.decision('limits', 'admitted', '');
    else metrics.decision(shadowed.step, 'shadowed', shadowed.code);
    this.#streaming = metrics.route(admission.tenant.name, admission.route.name);
    this.#streaming.streamStarted();
  }

  /** Adds what the two directions moved; the body of the gateway's own answer is already counted. */
  streamed(upload: Moved | undefined, download: Moved | undefined): void {
    this.#bytesIn = upload?.bytes ?? 0;
    this.#patch = upload?.check;
    this.#bytesOut += download?.bytes ?? 0;
    for (const moved of [upload, download]) {
      if (moved === undefined) continue;
      this.#context.metrics.forwarded('passed', moved.forwarded.passed);
      this.#context.metrics.forwarded('copied', moved.forwarded.copied);
    }
  }

  close(end: ExchangeEnd): void {
    const { metrics, accessLog, audit } = this.#context;
    const { denial } = end;
    const durationMs = performance.now() - this.#startedMs;
    if (denial !== undefined && this.#streaming === undefined)
      metrics.decision(denial.step, 'denied', denial.code);
    this.#streaming?.streamEnded();
    const route = this.#streaming ?? metrics.route(this.#tenant?.name ?? '', this.trail.route?.name ?? '');
    route.finished({
      listener: this.#connection.listener,
      method: this.#line?.method ?? '',
      status: end.status,
      durationMs,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
    });
    accessLog.write(this.#entry(end, durationMs));
    if (audit !== undefined && isAudited(this.trail.route)) audit.record(this.#auditEntry(end));
  }

  /** The audit entry written before anything goes to a node. */
  get admission(): AuditEntry {
    return auditEntry('admitted', this.#audited);
  }

  /** Falls back to the tenant of the connection's server name, for requests refused before a decision. */
  get #tenant(): Tenant | undefined {
    return this.trail.tenant ?? matchServerName(this.#policy, this.#connection.serverName)?.tenant;
  }

  /** Undefined for other forms of target: they are not a path and may contain a password. */
  get #path(): string | undefined {
    if (this.#head !== undefined) return this.#head.path;
    const target = this.#line?.target ?? '';
    return target.startsWith('/') ? pathOf(target) : undefined;
  }

  get #audited(): AuditedRequest {
    const { requestId, trail } = this;
    return { requestId, trail, policy: this.#policy, connection: this.#connection, head: this.#head };
  }

  #auditEntry(end: ExchangeEnd): AuditEntry {
    const { status, denial, endedBy } = end;
    return {
      ...auditEntry(this.#streaming === undefined ? 'refused' : 'ended', this.#audited),
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      stream: this.#patch && auditedStream(this.#patch),
      node: this.#node,
      status,
      denialCode: denial?.code,
      shadowCode: this.trail.shadowed?.code,
      cause: causeOf(end, this.trail.shadowed),
      endedBy,
    };
  }

  #entry(end: ExchangeEnd, durationMs: number): AccessEntry {
    const { trail } = this;
    return {
      timeMs: Date.now(),
      requestId: this.requestId,
      connection: this.#connection,
      token: trail.token,
      tenant: this.#tenant?.name,
      route: trail.route?.name,
      clientAddress: trail.client?.address.text,
      method: this.#line?.method,
      path: this.#path,
      status: end.status,
      durationMs,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      modelId: trail.params?.['model_id'],
      node: this.#node,
      policyGeneration: this.#policy.generation,
      decisionStep: end.denial?.step,
      denialCode: end.denial?.code,
      denialRule: end.denial?.rule,
      shadowStep: this.trail.shadowed?.step,
      shadowCode: this.trail.shadowed?.code,
      cause: causeOf(end, this.trail.shadowed),
      endedBy: end.endedBy,
    };
  }
}

/** The caller's request id if it is well-formed, else a new one. */
function requestIdOf(head: RequestHead | undefined): string {
  const [given] = head === undefined ? [] : fieldValues(head.fields, 'x-request-id');
  return given !== undefined && REQUEST_ID.test(given) ? given : randomUUID();
}

/** The cause of the denial, else of the end, else the denial's `detail`; else those of the shadowed denial. */
function causeOf({ denial, cause }: ExchangeEnd, shadowed: Denial | undefined): string | undefined {
  return denial?.cause ?? cause ?? denial?.detail ?? shadowed?.cause ?? shadowed?.detail;
}
