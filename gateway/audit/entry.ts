/** One line of the audit log before it is chained: plain data, so that it can be sent to another process. */

import { textMember as text } from '../core/json-text.ts';

export interface AuditEntry {
  /**
   * `admitted`: the request is about to go to a node. `ended`: the outcome of an admitted request. `refused`: nothing
   * went to a node. The others concern the log itself.
   */
  readonly event: 'admitted' | 'ended' | 'refused' | 'started' | 'stopped' | 'torn' | 'resumed';
  /** Wall clock, milliseconds since the epoch. */
  readonly timeMs: number;
  readonly requestId?: string | undefined;
  readonly tenant?: string | undefined;
  readonly route?: string | undefined;
  /** The scope the route requires. */
  readonly scope?: string | undefined;
  /** From the verified token: the name of its issuer in the policy, `sub`, `jti`. */
  readonly issuer?: string | undefined;
  readonly subject?: string | undefined;
  readonly tokenId?: string | undefined;
  /** SHA-256 of the verified client certificate, hex. */
  readonly certificate?: string | undefined;
  readonly clientAddress?: string | undefined;
  readonly peerAddress?: string | undefined;
  readonly method?: string | undefined;
  /** Without the query. */
  readonly path?: string | undefined;
  readonly modelId?: string | undefined;
  /** The version that the path names. */
  readonly version?: string | undefined;
  readonly policyDigest?: string | undefined;
  readonly policyGeneration?: number | undefined;
  /** Body bytes received from the caller and sent to it. */
  readonly bytesIn?: number | undefined;
  readonly bytesOut?: number | undefined;
  readonly stream?: AuditedStream | undefined;
  readonly node?: string | undefined;
  readonly status?: number | undefined;
  readonly denialCode?: string | undefined;
  /** Code the request would have been refused with if its route were not in shadow mode. */
  readonly shadowCode?: string | undefined;
  readonly cause?: string | undefined;
  readonly endedBy?: string | undefined;
  /** Only for the log's own events: what happened, in words. */
  readonly note?: string | undefined;
}

/** What a weight patch declares about itself, as far as it was checked in passing. */
export interface AuditedStream {
  readonly id: string;
  readonly baseVersion: number;
  readonly targetVersion: number;
  readonly baseDigest: string;
  /** Frames with valid headers. */
  readonly frames: number;
  /** The END frame arrived and everything added up. */
  readonly isWhole: boolean;
  /** SHA-256 over all frame headers, each of which holds its payload's CRC-32; only for a whole stream. */
  readonly chain?: string | undefined;
  /** False for a resumed stream, whose beginning came in an earlier request: then `chain` is what END declares. */
  readonly isChainChecked?: boolean | undefined;
  /** The SHA-256 the patched model must have; the node checks the model against it. */
  readonly targetDigest?: string | undefined;
}

/** Returns the members of the line's JSON object, without braces; unknown fields are left out. */
export function entryBody(entry: AuditEntry): string {
  return (
    `"time":"${new Date(entry.timeMs).toISOString()}","event":"${entry.event}"` +
    askedBy(entry) +
    askedFor(entry) +
    (entry.stream === undefined ? '' : streamText(entry.stream)) +
    text('upstream.node', entry.node) +
    plain('http.response.status_code', entry.status) +
    text('denial.code', entry.denialCode) +
    text('shadow.code', entry.shadowCode) +
    text('cause', entry.cause) +
    text('ended_by', entry.endedBy) +
    text('note', entry.note)
  );
}

function askedBy(entry: AuditEntry): string {
  return (
    text('request.id', entry.requestId) +
    text('tenant', entry.tenant) +
    text('route', entry.route) +
    text('scope', entry.scope) +
    text('token.issuer', entry.issuer) +
    text('token.sub', entry.subject) +
    text('token.jti', entry.tokenId) +
    text('tls.client.hash.sha256', entry.certificate) +
    text('client.address', entry.clientAddress) +
    text('network.peer.address', entry.peerAddress)
  );
}

function askedFor(entry: AuditEntry): string {
  return (
    text('http.request.method', entry.method) +
    text('url.path', entry.path) +
    text('model_id', entry.modelId) +
    text('version', entry.version) +
    text('policy.digest', entry.policyDigest) +
    plain('policy.generation', entry.policyGeneration) +
    plain('bytes_in', entry.bytesIn) +
    plain('bytes_out', entry.bytesOut)
  );
}

function streamText(stream: AuditedStream): string {
  return (
    text('stream.id', stream.id) +
    plain('stream.base_version', stream.baseVersion) +
    plain('stream.target_version', stream.targetVersion) +
    text('stream.base_digest', stream.baseDigest) +
    plain('stream.frames', stream.frames) +
    plain('stream.whole', stream.isWhole) +
    text('stream.chain', stream.chain) +
    plain('stream.chain_checked', stream.isChainChecked) +
    text('stream.target_digest', stream.targetDigest)
  );
}

function plain(key: string, value: number | boolean | undefined): string {
  return value === undefined ? '' : `,"${key}":${value}`;
}
