/** Step 8: what can be refused by what the head declares. */

import { type Denial, deny } from '../core/denial.ts';
import type { RequestHead } from '../core/facts.ts';
import { fieldValues } from '../core/headers.ts';
import { checkUpgrade } from '../http1/websocket.ts';
import { WEIGHT_PATCH_TYPE } from '../patch/layout.ts';
import type { Route } from '../policy/policy.ts';

/** Methods that ask for something and may come without the patch their route is for (RFC 9110 §9.3.1, §9.3.2). */
const READING: ReadonlySet<string> = new Set(['GET', 'HEAD']);

/** Nothing if what the head declares fits the route. */
export function checkLimits(route: Route, head: RequestHead): Denial | undefined {
  if (route.upgrade !== undefined) return checkUpgrade(head);
  const { maxBytes, format } = route.stream ?? {};
  const { framing } = head;
  const budget = route.limits?.bytes;
  if (budget !== undefined && framing.kind === 'length' && framing.length > budget.count) {
    const detail = `The body is larger than ${budget.count} bytes, the whole budget.`;
    return deny('limits', 'body-too-large', detail, { rule: 'limits.bytes' });
  }
  if (maxBytes !== undefined && framing.kind === 'length' && framing.length > maxBytes) {
    return deny('limits', 'body-too-large', `The body is larger than ${maxBytes} bytes.`, {
      rule: 'stream.maxBytes',
    });
  }
  return format === 'weight-patch' ? checkPatchHead(head) : undefined;
}

/** A route for patches takes nothing else: what is no patch would go upstream unchecked. */
function checkPatchHead({ method, framing, fields }: RequestHead): Denial | undefined {
  if (framing.kind === 'none') {
    if (READING.has(method)) return undefined;
    return deny('limits', 'bad-request', 'A weight patch is missing.', { rule: 'stream.format' });
  }
  const [type = ''] = fieldValues(fields, 'content-type');
  if (type.split(';')[0]?.trim().toLowerCase() === WEIGHT_PATCH_TYPE) return undefined;
  return deny('limits', 'bad-request', `This route takes ${WEIGHT_PATCH_TYPE}.`, { rule: 'stream.format' });
}
