/** Step 8, for a weight patch whose upload was interrupted: where it resumes. */

import { parseDecimal } from '../core/decimal.ts';
import { type Denial, deny } from '../core/denial.ts';
import type { RequestHead } from '../core/facts.ts';
import { fieldValues } from '../core/headers.ts';
import type { Route } from '../policy/policy.ts';

/**
 * The byte at which the stream resumes (`Upload-Offset` of draft-ietf-httpbis-resumable-upload); undefined for a stream
 * from its beginning. The draft ignores an invalid value; here it is refused, because the gateway and the node must
 * never read a body differently.
 */
export function readResumption(route: Route, head: RequestHead): number | undefined | Denial {
  if (route.stream?.format !== 'weight-patch') return undefined;
  const values = fieldValues(head.fields, 'upload-offset');
  const [value] = values;
  if (value === undefined) return undefined;
  const offset = values.length > 1 ? undefined : parseDecimal(value);
  if (offset === undefined) {
    return deny('limits', 'bad-request', 'Upload-Offset must be one decimal number.', {
      rule: 'stream.format',
    });
  }
  return offset === 0 ? undefined : offset;
}
