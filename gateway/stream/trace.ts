/** W3C Trace Context: the caller's trace goes on under a span of ours, or a new one begins. */

import { randomUUID } from 'node:crypto';

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
const ZERO_TRACE = '0'.repeat(32);
const ZERO_PARENT = '0'.repeat(16);

/** The `traceparent` for the node (Trace Context §3.2); anything but one well-formed line begins a new trace. */
export function continueTrace(lines: readonly string[]): string {
  const [, trace, parent, flags] = (lines.length === 1 ? TRACEPARENT.exec(lines[0] ?? '') : null) ?? [];
  const fresh = randomUUID().replaceAll('-', '');
  const span = fresh.slice(-16);
  if (trace === undefined || trace === ZERO_TRACE || parent === ZERO_PARENT) {
    return `00-${randomUUID().replaceAll('-', '')}-${span}-00`;
  }
  return `00-${trace}-${span}-${flags}`;
}
