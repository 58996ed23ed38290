/** Whether a request on a stale connection may be sent again. */

import type { RequestHead } from '../core/facts.ts';

const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * A node may close a kept connection just as a request is sent on it. If it has begun to answer, or was waited for too
 * long, it had the request, which is not sent again. Otherwise sending it again is safe if the method is safe
 * (RFC 9110 §9.2.1) and there is no body. The RFC would also allow PUT, but a node that had already applied it would see
 * the patch twice.
 */
export function mayRetry({ method, framing }: RequestHead): boolean {
  return framing.kind === 'none' && SAFE.has(method);
}
