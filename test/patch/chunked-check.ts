/** Sends a body through a check of its values in chunks. */

import { createPatchCheck } from '../../gateway/patch/check.ts';
import type { PatchFault } from '../../gateway/patch/fault.ts';

/** The fault of a body, and whether any byte of END was forwarded. */
export function check(body: Buffer, size: number): { fault: PatchFault | undefined; ended: boolean } {
  const patchCheck = createPatchCheck('values', {});
  const forwarded: Buffer[] = [];
  const forward = (bytes: Buffer) => forwarded.push(Buffer.from(bytes));
  for (let at = 0; at < body.length; at += size) patchCheck.accept(body.subarray(at, at + size), forward);
  const fault = patchCheck.finish(forward);
  return { fault, ended: Buffer.concat(forwarded).length > body.length - 120 };
}
