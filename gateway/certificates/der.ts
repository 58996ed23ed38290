/** Walks DER (X.690): enough to read a revocation list of any length in one pass, and strict about lengths. */

/** One element: its tag, what is in it, and all its bytes. */
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

/** Bytes that are no DER, or not the structure that was expected. */
export class DerError extends Error {}

/** The elements that lie one behind the other. Throws `DerError` where the bytes do not end with one. */
export function* derElements(bytes: Buffer): Generator<DerElement, undefined> {
  for (let at = 0; at < bytes.length; ) {
    const element = derElement(bytes, at);
    yield element;
    at += element.whole.length;
  }
}

/** The one element that the bytes are, with this tag. */
export function derOnly(bytes: Buffer, tag: number): DerElement {
  const element = derElement(bytes, 0);
  if (element.tag !== tag || element.whole.length !== bytes.length)
    throw new DerError('an unexpected element');
  return element;
}

function derElement(bytes: Buffer, at: number): DerElement {
  const tag = bytes[at];
  const first = bytes[at + 1];
  // Tags of several bytes stand in no certificate and no list.
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f)
    throw new DerError('an element cut short');
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  // An indefinite length is BER; four bytes are four gigabytes.
  if (first === 0x80 || lengthBytes > 4 || at + 2 + lengthBytes > bytes.length)
    throw new DerError('a bad length');
  const length = lengthBytes === 0 ? first : bytes.readUIntBE(at + 2, lengthBytes);
  const from = at + 2 + lengthBytes;
  if (from + length > bytes.length) throw new DerError('an element cut short');
  return { tag, contents: bytes.subarray(from, from + length), whole: bytes.subarray(at, from + length) };
}

/** Milliseconds since the epoch of a UTCTime or GeneralizedTime, in the only forms RFC 5280 §5.1.2.4 allows. */
export function derTime({ tag, contents }: DerElement): number {
  const text = contents.toString('latin1');
  const short = tag === DER.UTC_TIME && /^\d{12}Z$/.test(text);
  if (!short && !(tag === DER.GENERALIZED_TIME && /^\d{14}Z$/.test(text))) throw new DerError('a bad time');
  const century = Number(text.slice(0, 2)) < 50 ? '20' : '19';
  const digits = short ? century + text : text;
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(digits) ?? [];
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(ms)) throw new DerError('a bad time');
  return ms;
}

/** A serial number as it is compared: lower-case hexadecimal without leading zeros. */
export function serialText(hex: string): string {
  return hex.toLowerCase().replace(/^0+(?=.)/, '');
}
