/** Parcels from the control plane to a data plane: small values whole, tables in pieces that are quick to receive. */

export type Column = Uint8Array | Uint16Array | Uint32Array;

/** Tables, and a small head that describes them. */
export interface Parcel {
  readonly head: unknown;
  readonly columns: readonly Column[];
}

/** A piece of a table: `bytes` belong at byte offset `at` of table number `column`. */
export interface Slice {
  readonly column: number;
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** Announces a parcel and carries its first slices: all of them, if it is small. */
export interface ParcelMessage {
  readonly kind: 'parcel';
  readonly id: number;
  /** What the parcel contains: an `AboutParcel`. */
  readonly about: unknown;
  readonly head: unknown;
  readonly columns: readonly { readonly type: ColumnType; readonly length: number }[];
  readonly slices: readonly Slice[];
}

/** Further slices. */
export interface PieceMessage {
  readonly kind: 'piece';
  readonly id: number;
  readonly slices: readonly Slice[];
}

/** Bits per element. */
export type ColumnType = 8 | 16 | 32;

/** Limit on the table bytes of a message, small enough to receive and copy in a fraction of a millisecond. */
const PIECE_BYTES = 128 * 1024;

/** Yields the messages of a parcel; each is created when it is asked for. */
export function* messagesOf(
  id: number,
  about: unknown,
  { head, columns }: Parcel,
): Generator<ParcelMessage | PieceMessage, void, void> {
  const pieces = slicesOf(columns);
  const described = columns.map((column) => ({ type: typeOf(column), length: column.length }));
  yield { kind: 'parcel', id, about, head, columns: described, slices: pieces.next().value ?? [] };
  for (const slices of pieces) yield { kind: 'piece', id, slices };
}

function* slicesOf(columns: readonly Column[]): Generator<readonly Slice[], undefined, void> {
  let slices: Slice[] = [];
  let room = PIECE_BYTES;
  for (const [column, { buffer, byteOffset, byteLength }] of columns.entries()) {
    for (let at = 0; at < byteLength; ) {
      const bytes = new Uint8Array(buffer, byteOffset + at, Math.min(room, byteLength - at));
      slices.push({ column, at, bytes });
      at += bytes.length;
      room -= bytes.length;
      if (room > 0) continue;
      yield slices;
      slices = [];
      room = PIECE_BYTES;
    }
  }
  if (slices.length > 0) yield slices;
  return undefined;
}

function typeOf(column: Column): ColumnType {
  return column instanceof Uint32Array ? 32 : column instanceof Uint16Array ? 16 : 8;
}

function columnOf(type: ColumnType, length: number): Column {
  if (type === 32) return new Uint32Array(length);
  return type === 16 ? new Uint16Array(length) : new Uint8Array(length);
}

/** A complete parcel. */
export interface Delivery extends Parcel {
  readonly about: unknown;
}

interface Open extends Delivery {
  missing: number;
}

/** Reassembles parcels, several at a time. */
export class ParcelReceiver {
  readonly #open = new Map<number, Open>();

  /** Returns the parcel this message completes, if any. Throws a `RangeError` for a piece that fits no parcel. */
  take(message: ParcelMessage | PieceMessage): Delivery | undefined {
    if (message.kind === 'parcel') {
      const { about, head } = message;
      const columns = message.columns.map(({ type, length }) => columnOf(type, length));
      const missing = columns.reduce((sum, { byteLength }) => sum + byteLength, 0);
      this.#open.set(message.id, { about, head, columns, missing });
    }
    const open = this.#open.get(message.id);
    if (open === undefined) throw new RangeError('piece of an unannounced parcel');
    // Removed first, so that a parcel with an invalid piece is discarded.
    this.#open.delete(message.id);
    for (const slice of message.slices) put(open, slice);
    if (open.missing === 0) return open;
    this.#open.set(message.id, open);
    return undefined;
  }
}

function put(open: Open, { column, at, bytes }: Slice): void {
  const into = open.columns[column];
  if (into === undefined || bytes.length > open.missing)
    throw new RangeError('piece outside the tables of its parcel');
  new Uint8Array(into.buffer).set(bytes, at);
  open.missing -= bytes.length;
}
