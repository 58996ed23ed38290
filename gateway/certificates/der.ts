/** Reads DER (X.690): enough for a revocation list of any length in one pass, and strict about lengths. */

/** One element: its tag, its contents, and all its bytes. */
export interface DerElement {
  readonly tag: number;
  readonly contents: Buffer;
  readonly whole: Buffer;
}

export const DER = {
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OID: 0x06,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  SEQUENCE: 0x30,
  BOOLEAN: 0x01,
} as const;

/** The bytes are not DER, or not the expected structure. */
export class DerError extends Error {}

/** Yields consecutive elements. Throws `DerError` unless the bytes end with one. */
export function* derElements(bytes: Buffer): Generator<DerElement, undefined> {
  for (let at = 0; at < bytes.length; ) {
    const element = derElement(bytes, at);
    yield element;
    at += element.whole.length;
  }
}

/** Returns the one element that the bytes consist of. Throws `DerError` if its tag is not `tag`. */
export function derOnly(bytes: Buffer, tag: number): DerElement {
  const element = derElement(bytes, 0);
  if (element.tag !== tag || element.whole.length !== bytes.length) throw new DerError('unexpected element');
  return element;
}

function derElement(bytes: Buffer, at: number): DerElement {
  const tag = bytes[at];
  const first = bytes[at + 1];
  // Certificates and lists have no tags of several bytes.
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f)
    throw new DerError('truncated element');
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  // 82 01 00 is a length of 256; 80 is indefinite, which only BER allows; four bytes suffice for 4 GiB.
  if (first === 0x80 || lengthBytes > 4 || at + 2 + lengthBytes > bytes.length)
    throw new DerError('invalid length');
  const length = lengthBytes === 0 ? first : bytes.readUIntBE(at + 2, lengthBytes);
  const from = at + 2 + lengthBytes;
  if (from + length > bytes.length) throw new DerError('truncated element');
  return { tag, contents: bytes.subarray(from, from + length), whole: bytes.subarray(at, from + length) };
}

/** Milliseconds since the epoch of a UTCTime or GeneralizedTime, in the only forms that RFC 5280 §5.1.2.4 allows. */
export function derTime({ tag, contents }: DerElement): number {
  const text = contents.toString('latin1');
  const short = tag === DER.UTC_TIME && /^\d{12}Z$/.test(text);
  if (!short && !(tag === DER.GENERALIZED_TIME && /^\d{14}Z$/.test(text))) throw new DerError('invalid time');
  const century = Number(text.slice(0, 2)) < 50 ? '20' : '19';
  const digits = short ? century + text : text;
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(digits) ?? [];
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(ms)) throw new DerError('invalid time');
  return ms;
}

/** Normalizes a serial number for comparison: lower-case hexadecimal without leading zeros. */
export function serialText(hex: string): string {
  return hex.toLowerCase().replace(/^0+(?=.)/, '');
}
