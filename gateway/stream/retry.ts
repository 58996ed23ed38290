/** Whether a request that met a stale connection may be sent once more. */

import type { RequestHead } from '../core/facts.ts';

const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * A node may close a kept connection in the moment a request is sent on it. One that has begun to answer, or was waited for
 * too long, had the request: it is not asked again. Asking once more is safe where the method promises no effect
 * (RFC 9110 §9.2.1) and there was no body. PUT could be sent again by the same RFC, but a node that had applied it would see
 * the patch twice.
 */
export function mayRetry({ method, framing }: RequestHead): boolean {
  return framing.kind === 'none' && SAFE.has(method);
}
