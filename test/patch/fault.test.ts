/** Streams that lie with valid CRCs break each rule of the fault table, with its status and the frame at fault. */

import t from 'tap';
import { createPatchCheck } from '../../gateway/patch/check.ts';
import { PatchFaultError, type PatchFaultRule, patchFaults } from '../../gateway/patch/fault.ts';
import { boundsCases } from './bounds-faults.ts';
import { CraftedStream } from './crafted-stream.ts';
import { endFrame } from './faulty-stream.ts';
import { headerCases } from './header-faults.ts';
import { indexCases } from './index-faults.ts';
import { orderCases, placeCases } from './order-faults.ts';

const cases = [...headerCases, ...placeCases, ...boundsCases, ...orderCases, ...indexCases];

/** Rules that only someone with the model or the request can break; they are tested there. */
const elsewhere: readonly PatchFaultRule[] = [
  'base',
  'tensor',
  'digest',
  'model',
  'epoch',
  'version',
  'stream-size',
  'content',
];

for (const { title, rule, frame, stream } of cases) {
  t.test(`${title} is refused by rule ${rule}`, async (t) => {
    const bytes = stream instanceof CraftedStream ? stream.bytes : stream;
    for (const size of [1, 7, 32, 1000, bytes.length]) {
      const check = createPatchCheck('deep', {});
      const forwarded: Buffer[] = [];
      const forward = (part: Buffer) => forwarded.push(Buffer.from(part));
      let fault: unknown;
      for (let at = 0; at < bytes.length && fault === undefined; at += size) {
        fault = check.accept(bytes.subarray(at, at + size), forward);
      }
      fault ??= check.finish(forward);
      t.match(
        fault,
        { kind: 'patch-fault', rule, status: patchFaults[rule].status, frame },
        `the fault is the same in chunks of ${size}`,
      );
      t.notOk(hasEnd(Buffer.concat(forwarded)), 'END is not forwarded');
    }
  });
}

/** Whether any frame of these bytes is END. */
function hasEnd(bytes: Buffer): boolean {
  for (let at = 0; at + 12 <= bytes.length; at += bytes.readUInt16LE(at + 6) + bytes.readUInt32LE(at + 8)) {
    if (bytes[at + 4] === endFrame) return true;
  }
  return false;
}

t.test('every rule that a stream alone can break has a case above', async (t) => {
  const covered = new Set([...cases.map(({ rule }) => rule), ...elsewhere]);
  t.same([...covered].sort(), Object.keys(patchFaults).sort());
});

t.test('the header check leaves the indices to those who decode them', async (t) => {
  for (const { rule, stream } of indexCases.slice(0, 1)) {
    const check = createPatchCheck('header', {});
    t.equal(rule, 'indices');
    t.equal(
      check.accept(stream instanceof CraftedStream ? stream.bytes : stream, () => {}),
      undefined,
    );
  }
});

t.test('every rule has the status of its class', async (t) => {
  const statuses: Readonly<Record<number, readonly PatchFaultRule[]>> = {
    400: ['magic', 'type', 'header-length', 'header-crc', 'reserved', 'encoding'],
    403: ['model', 'epoch', 'version'],
    409: ['sequence', 'offset', 'base'],
    413: ['payload-size', 'stream-size'],
  };
  const rest: PatchFaultRule[] = [];
  for (const rule of Object.keys(patchFaults) as PatchFaultRule[]) {
    const { status } = patchFaults[rule];
    if (status === 422) rest.push(rule);
    else t.ok(statuses[status]?.includes(rule), `${rule} has status ${status}, which is expected of it`);
  }
  t.equal(rest.length + Object.values(statuses).flat().length, Object.keys(patchFaults).length);
});

t.test('an error carries the whole fault', async (t) => {
  const fault = createPatchCheck('deep', {}).finish(() => {});
  if (fault === undefined) throw new Error('an empty stream has a fault');
  const error = new PatchFaultError(fault);
  t.equal(error.fault, fault);
  t.match(error.message, /truncated at frame 0, offset 0/);
});
