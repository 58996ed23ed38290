/** Reads the server name out of a ClientHello before any TLS library sees it (RFC 8446 §4.1.2, RFC 6066 §3). */

/** What the bytes so far say. */
export type HelloProgress =
  /** The hello is incomplete; read it again once there are `neededBytes` in all. */
  | { readonly kind: 'more'; readonly neededBytes: number }
  /** The name as sent, one character for each byte, or `undefined` if the hello has none. */
  | { readonly kind: 'name'; readonly name: string | undefined }
  | { readonly kind: 'fault'; readonly reason: string };

/** Includes record headers. A hello with post-quantum key shares takes about 1.8 KiB. */
export const MAX_HELLO_BYTES = 16_384;

/** All records are read again when the next one arrives. Clients that split a hello use a handful. */
const MAX_RECORDS = 64;
const RECORD_HEADER_BYTES = 5;
const HANDSHAKE_RECORD = 22;
const MAX_RECORD_BYTES = 16_384;
const MESSAGE_HEADER_BYTES = 4;
const CLIENT_HELLO = 1;
/** legacy_version and random. */
const FIXED_BYTES = 34;
const MAX_SESSION_ID_BYTES = 32;
const SERVER_NAME_EXTENSION = 0;
const HOST_NAME = 0;

/**
 * Reads from the first byte of a connection. Never throws. Refuses anything but handshake records until the hello is
 * complete, a hello larger than `MAX_HELLO_BYTES` or in more than 64 records, lengths that do not add up, a second
 * server_name extension, and a server_name that is not exactly one host_name. Cost: one pass, and one copy if the hello
 * spans records.
 */
export function readServerName(bytes: Buffer): HelloProgress {
  const gathered = gatherHello(bytes);
  return Buffer.isBuffer(gathered) ? readHello(gathered) : gathered;
}

const fault = (reason: string): HelloProgress => ({ kind: 'fault', reason });

/** Joins the body of the ClientHello message from its records. */
function gatherHello(bytes: Buffer): Buffer | HelloProgress {
  const fragments: Buffer[] = [];
  let gatheredBytes = 0;
  let wantedBytes = MESSAGE_HEADER_BYTES;
  let at = 0;
  while (gatheredBytes < wantedBytes) {
    const end = recordEnd(bytes, at);
    if (typeof end !== 'number') return end;
    if (fragments.length === MAX_RECORDS) return fault('the ClientHello is in too many records');
    if (end > MAX_HELLO_BYTES) return fault('the ClientHello is too large');
    if (end > bytes.length) return { kind: 'more', neededBytes: end };
    const fragment = bytes.subarray(at + RECORD_HEADER_BYTES, end);
    fragments.push(fragment);
    gatheredBytes += fragment.length;
    at = end;
    if (wantedBytes > MESSAGE_HEADER_BYTES || gatheredBytes < MESSAGE_HEADER_BYTES) continue;
    const announced = messageBytes(join(fragments));
    if (typeof announced !== 'number') return announced;
    wantedBytes = announced;
  }
  return join(fragments).subarray(MESSAGE_HEADER_BYTES, wantedBytes);
}

/** Returns where the record that begins at `at` ends, which may be beyond `bytes`. */
function recordEnd(bytes: Buffer, at: number): number | HelloProgress {
  const type = bytes[at];
  // The first byte alone distinguishes TLS from plain HTTP and scanners: no need to wait for a whole header.
  if (type !== undefined && type !== HANDSHAKE_RECORD) return fault('not a TLS handshake record');
  if (bytes.length < at + RECORD_HEADER_BYTES) return at + RECORD_HEADER_BYTES;
  if (bytes[at + 1] !== 3) return fault('not a TLS record version');
  const length = bytes.readUInt16BE(at + 3);
  if (length === 0 || length > MAX_RECORD_BYTES) return fault('a record has an illegal length');
  return at + RECORD_HEADER_BYTES + length;
}

/** Size of the message including its header, which is complete. */
function messageBytes(message: Buffer): number | HelloProgress {
  if (message[0] !== CLIENT_HELLO) return fault('the first message is not a ClientHello');
  const size = MESSAGE_HEADER_BYTES + message.readUIntBE(1, 3);
  return size > MAX_HELLO_BYTES ? fault('the ClientHello is too large') : size;
}

function join(fragments: readonly Buffer[]): Buffer {
  const [first] = fragments;
  return fragments.length === 1 && first !== undefined ? first : Buffer.concat(fragments);
}

/** Reads length-prefixed parts one after the other; a missing or truncated part is `undefined`. */
class Cursor {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  number(sizeBytes: 1 | 2): number | undefined {
    if (this.#at + sizeBytes > this.#bytes.length) return undefined;
    const value = this.#bytes.readUIntBE(this.#at, sizeBytes);
    this.#at += sizeBytes;
    return value;
  }

  /** Reads a part preceded by its length in `sizeBytes` bytes. */
  part(sizeBytes: 1 | 2): Buffer | undefined {
    const length = this.number(sizeBytes);
    if (length === undefined || this.#at + length > this.#bytes.length) return undefined;
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}

function readHello(hello: Buffer): HelloProgress {
  if (hello.length < FIXED_BYTES) return fault('the ClientHello is too short');
  const cursor = new Cursor(hello, FIXED_BYTES);
  const sessionId = cursor.part(1);
  if (sessionId === undefined || sessionId.length > MAX_SESSION_ID_BYTES)
    return fault('the session id has an illegal length');
  const cipherSuites = cursor.part(2);
  if (cipherSuites === undefined || cipherSuites.length === 0 || cipherSuites.length % 2 === 1)
    return fault('the cipher suites have an illegal length');
  const compression = cursor.part(1);
  if (compression === undefined || compression.length === 0)
    return fault('the compression methods have an illegal length');
  if (cursor.done) return { kind: 'name', name: undefined };
  const extensions = cursor.part(2);
  if (extensions === undefined || !cursor.done) return fault('the extensions have an illegal length');
  return readExtensions(new Cursor(extensions));
}

function readExtensions(extensions: Cursor): HelloProgress {
  let found: HelloProgress | undefined;
  while (!extensions.done) {
    const type = extensions.number(2);
    const body = extensions.part(2);
    if (body === undefined) return fault('an extension has an illegal length');
    if (type !== SERVER_NAME_EXTENSION) continue;
    if (found !== undefined) return fault('there are two server_name extensions');
    found = readHostName(body);
    if (found.kind === 'fault') return found;
  }
  return found ?? { kind: 'name', name: undefined };
}

function readHostName(body: Buffer): HelloProgress {
  const outer = new Cursor(body);
  const list = outer.part(2);
  if (list === undefined || !outer.done) return fault('server_name has an illegal length');
  const entries = new Cursor(list);
  const type = entries.number(1);
  const name = entries.part(2);
  if (type !== HOST_NAME || name === undefined || name.length === 0 || !entries.done)
    return fault('server_name is not exactly one host_name');
  return { kind: 'name', name: name.toString('latin1') };
}

const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;
const MAX_NAME_CHARACTERS = 253;

/**
 * Normalizes a server name for lookup: lower case, one trailing dot removed. Returns undefined for anything but a host
 * name in A-labels of letters, digits and hyphens (RFC 5890 §2.3.1), and for address literals (RFC 6066 §3): a name
 * that ends in a number is one, such as `127.1`.
 */
export function canonicalServerName(raw: string): string | undefined {
  const name = raw.endsWith('.') ? raw.slice(0, -1) : raw;
  if (name.length > MAX_NAME_CHARACTERS) return undefined;
  const labels = name.split('.');
  if (!labels.every((label) => LABEL.test(label))) return undefined;
  // Only after the check: some non-ASCII characters have an ASCII lower case (U+212A becomes `k`).
  return /^[0-9]+$/.test(labels.at(-1) ?? '') ? undefined : name.toLowerCase();
}
