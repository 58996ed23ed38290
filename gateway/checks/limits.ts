/** Step 8: does what the head declares fit the route? */

import { type Denial, deny } from '../core/denial.ts';
import type { RequestHead } from '../core/facts.ts';
import { fieldValues } from '../core/headers.ts';
import { checkUpgrade } from '../http1/websocket.ts';
import { WEIGHT_PATCH_TYPE } from '../patch/layout.ts';
import type { Route } from '../policy/policy.ts';

/** Methods that read, and so may come without a patch on a route for patches (RFC 9110 §9.3.1, §9.3.2). */
const READING: ReadonlySet<string> = new Set(['GET', 'HEAD']);

/** Returns undefined if it does. */
export function checkLimits(route: Route, head: RequestHead): Denial | undefined {
  if (route.upgrade !== undefined) return checkUpgrade(head);
  const { maxBytes, format } = route.stream ?? {};
  const { framing } = head;
  const budget = route.limits?.bytes;
  if (budget !== undefined && framing.kind === 'length' && framing.length > budget.count) {
    const detail = `The body is larger than the whole budget of ${budget.count} bytes.`;
    return deny('limits', 'body-too-large', detail, { rule: 'limits.bytes' });
  }
  if (maxBytes !== undefined && framing.kind === 'length' && framing.length > maxBytes) {
    return deny('limits', 'body-too-large', `The body is larger than ${maxBytes} bytes.`, {
      rule: 'stream.maxBytes',
    });
  }
  return format === 'weight-patch' ? checkPatchHead(head) : undefined;
}

/** A route for patches accepts no other body, because it would go upstream unchecked. */
function checkPatchHead({ method, framing, fields }: RequestHead): Denial | undefined {
  if (framing.kind === 'none') {
    if (READING.has(method)) return undefined;
    return deny('limits', 'bad-request', 'A weight patch is required.', { rule: 'stream.format' });
  }
  const [type = ''] = fieldValues(fields, 'content-type');
  if (type.split(';')[0]?.trim().toLowerCase() === WEIGHT_PATCH_TYPE) return undefined;
  return deny('limits', 'bad-request', `This route accepts only ${WEIGHT_PATCH_TYPE}.`, {
    rule: 'stream.format',
  });
}
