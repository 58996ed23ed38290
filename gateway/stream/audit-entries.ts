/** The audit entries of a request: who asked for what, whether it was admitted, and how it ended. */

import type { AuditEntry, AuditedStream } from '../audit/entry.ts';
import type { ConnectionFacts, RequestHead } from '../core/facts.ts';
import type { Trail } from '../decide.ts';
import type { PatchCheck } from '../patch/check.ts';
import type { Policy, Route } from '../policy/policy.ts';

export interface AuditedRequest {
  readonly requestId: string;
  readonly policy: Pick<Policy, 'digest' | 'generation'>;
  readonly connection: ConnectionFacts;
  readonly head: RequestHead | undefined;
  readonly trail: Trail;
}

/** Only routes that change models are audited: those that require `publish` or `finetune`. */
export function isAudited(route: Route | undefined): boolean {
  const scope = route?.require?.scope;
  return scope === 'publish' || scope === 'finetune';
}

export function auditEntry(event: AuditEntry['event'], request: AuditedRequest): AuditEntry {
  const { requestId, policy, connection, head, trail } = request;
  const { tenant, route, params, client, token } = trail;
  const { certificate } = connection;
  return {
    event,
    timeMs: Date.now(),
    requestId,
    tenant: tenant?.name,
    route: route?.name,
    scope: route?.require?.scope,
    issuer: token?.issuer,
    subject: token?.subject,
    tokenId: token?.jti,
    certificate: certificate.status === 'verified' ? certificate.fingerprint : undefined,
    clientAddress: client?.address.text,
    peerAddress: connection.peer.text,
    method: head?.method,
    path: head?.path,
    modelId: params?.['model_id'],
    version: params?.['version'],
    policyDigest: policy.digest,
    policyGeneration: policy.generation,
  };
}

/** Returns undefined if the stream ended before its OPEN frame. */
export function auditedStream({ open, end, frames, isResumed }: PatchCheck): AuditedStream | undefined {
  if (open === undefined) return undefined;
  return {
    id: open.streamId.toString('hex'),
    baseVersion: open.baseVersion,
    targetVersion: open.targetVersion,
    baseDigest: open.baseDigest.toString('hex'),
    frames,
    isWhole: end !== undefined,
    chain: end?.chain.toString('hex'),
    isChainChecked: end && !isResumed,
    targetDigest: end?.targetDigest.toString('hex'),
  };
}
