/** What can be wrong with a weight patch: one table from rule to status and title, and the fault as a value. */

/** One row of the table. `status` is the HTTP status a gateway or a node answers with. */
export interface PatchFaultRow {
  readonly status: number;
  readonly title: string;
}

/** Every rule a WPF1 stream can break. */
export const patchFaults = {
  magic: { status: 400, title: 'The frame does not begin with WPF1' },
  type: { status: 400, title: 'The frame type is unknown or out of place' },
  'header-length': { status: 400, title: 'The header length does not fit the frame' },
  'header-crc': { status: 400, title: 'The header CRC does not match' },
  reserved: { status: 400, title: 'Reserved bits or padding are not zero' },
  encoding: { status: 400, title: 'An encoding is unknown or does not fit' },
  'payload-size': { status: 413, title: 'The payload is too large' },
  'stream-size': { status: 413, title: 'The stream is too large' },
  'payload-crc': { status: 422, title: 'The payload CRC does not match' },
  chain: { status: 422, title: 'The chain of headers does not match' },
  indices: { status: 422, title: 'The indices do not match the header' },
  trailing: { status: 422, title: 'Bytes follow the END frame' },
  truncated: { status: 422, title: 'The stream ended before its END frame' },
  sequence: { status: 409, title: 'The frame is out of sequence' },
  offset: { status: 409, title: 'The frame is not at the offset it states' },
  base: { status: 409, title: 'The patch is for a different base' },
  bounds: { status: 422, title: 'A number is out of bounds' },
  counts: { status: 422, title: 'The counts do not add up' },
  overlap: { status: 422, title: 'Two patches overlap' },
  content: { status: 422, title: 'The content breaks a rule of the route' },
  'tensor-order': { status: 422, title: 'The tensors are out of order' },
  tensor: { status: 422, title: 'The tensor is not in the model' },
  digest: { status: 422, title: 'The patched model has a different digest' },
  model: { status: 403, title: 'The patch is for a different model' },
  epoch: { status: 403, title: 'The epoch is later than allowed' },
  version: { status: 403, title: 'The target version is not the expected one' },
} as const satisfies Record<string, PatchFaultRow>;

export type PatchFaultRule = keyof typeof patchFaults;

/** A broken rule whose place in the stream is not known yet; decoders of single headers return it. */
export interface Violation {
  readonly rule: PatchFaultRule;
  /** One sentence that may be shown to the sender of the stream. */
  readonly detail: string;
  /** The wrong field (see header-layout.ts) or the position of the wrong byte; absent if the rule implies it. */
  readonly field?: string | number | undefined;
}

/** The first fault of a stream. A stream with a fault is never committed. */
export interface PatchFault {
  readonly kind: 'patch-fault';
  readonly rule: PatchFaultRule;
  /** The status of the rule's row. */
  readonly status: number;
  /** One sentence that may be shown to the sender of the stream. */
  readonly detail: string;
  /** Number of the faulty frame, from 0. */
  readonly frame: number;
  /** Where in the stream that frame begins, in bytes. */
  readonly offset: number;
  /** The wrong field or the position in the frame of the wrong byte; absent if the rule implies it. */
  readonly field?: string | number | undefined;
}

/** Turns a violation at the given frame into a fault. */
export function patchFault(violation: Violation, frame: number, offset: number): PatchFault {
  const { rule, detail, field } = violation;
  const { status } = patchFaults[rule];
  return { kind: 'patch-fault', rule, status, detail, frame, offset, ...(field !== undefined && { field }) };
}

export function violation(rule: PatchFaultRule, detail: string, field?: string | number): Violation {
  return { rule, detail, field };
}

/** Carries a fault out of an asynchronous reader, which has no return value to put it in. */
export class PatchFaultError extends Error {
  override readonly name = 'PatchFaultError';
  readonly fault: PatchFault;

  constructor(fault: PatchFault) {
    super(`${fault.rule} at frame ${fault.frame}, offset ${fault.offset}: ${fault.detail}`);
    this.fault = fault;
  }
}
