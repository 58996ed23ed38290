/** Step 8: what can be refused by what the head declares. */

import { type Denial, deny } from '../core/denial.ts';
import type { RequestHead } from '../core/facts.ts';
import { fieldValues } from '../core/headers.ts';
import type { Route } from '../policy/policy.ts';

export const WEIGHT_PATCH_TYPE = 'application/vnd.patchgate.weight-patch';

/** Nothing if the declared body fits the route. */
export function checkLimits(route: Route, head: RequestHead): Denial | undefined {
  const { stream } = route;
  if (stream?.maxBytes !== undefined && head.framing.kind === 'length' && head.framing.length > stream.maxBytes) {
    return deny('limits', 'body-too-large', `The body is larger than ${stream.maxBytes} bytes.`);
  }
  if (stream?.format !== 'weight-patch') return undefined;
  if (head.framing.kind === 'none') return deny('limits', 'bad-request', 'A weight patch is missing.');
  const [type = ''] = fieldValues(head.fields, 'content-type');
  if (type.split(';')[0]?.trim().toLowerCase() === WEIGHT_PATCH_TYPE) return undefined;
  return deny('limits', 'bad-request', `This route takes ${WEIGHT_PATCH_TYPE}.`);
}
