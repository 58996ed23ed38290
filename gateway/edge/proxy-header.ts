/**
 * Reads the header with which a proxy names the peer of a connection (the PROXY protocol, versions 1 and 2:
 * haproxy.org/download/2.8/doc/proxy-protocol.txt). Strict: refuses everything ambiguous.
 */

import { type Address, parseAddress } from '../core/address.ts';
import { crc32c } from '../core/crc32c.ts';

/** What the first bytes of a connection are. */
export type ProxyHeaderProgress =
  /** The header is incomplete; read it again once there are `neededBytes` in all. */
  | { readonly kind: 'more'; readonly neededBytes: number }
  /** They are not a PROXY header. */
  | { readonly kind: 'absent' }
  /** `source` is absent if the proxy connects for itself, as for a health check. */
  | { readonly kind: 'header'; readonly bytes: number; readonly source?: ProxySource }
  | { readonly kind: 'fault'; readonly reason: string };

/** The other end of the connection the proxy accepted. */
export interface ProxySource {
  readonly address: Address;
  readonly port: number;
}

const V1_START = Buffer.from('PROXY ', 'latin1');
/** Includes the line end (§2.1). */
const MAX_V1_BYTES = 107;
const V2_START = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const V2_FIXED_BYTES = 16;
/** The whole header; proxies that add certificates send a few KiB. */
const MAX_V2_BYTES = 16_384;
const PORT = /^(?:0|[1-9][0-9]{0,4})$/;
const LINE_FEED = 0x0a;

/** Size of an address by transport and family (§2.2): TCP over IPv4 and IPv6; others are refused. */
const KINDS: ReadonlyMap<number, { readonly addressBytes: 4 | 16 }> = new Map([
  [0x11, { addressBytes: 4 }],
  [0x21, { addressBytes: 16 }],
]);
const CRC32C_TYPE = 0x03;

/** Reads the header at the beginning of `bytes`, which are all that have arrived. Never throws. */
export function readProxyHeader(bytes: Buffer): ProxyHeaderProgress {
  if (beginsLike(bytes, V1_START)) return readV1(bytes);
  if (beginsLike(bytes, V2_START)) return readV2(bytes);
  return { kind: 'absent' };
}

/** Compares as many bytes as there are. */
function beginsLike(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.subarray(0, length).equals(start.subarray(0, length));
}

function readV1(bytes: Buffer): ProxyHeaderProgress {
  const end = bytes.indexOf(LINE_FEED);
  if (end < 0 && bytes.length < MAX_V1_BYTES) return { kind: 'more', neededBytes: bytes.length + 1 };
  if (end < 0 || end >= MAX_V1_BYTES) return fault('the line is too long');
  const line = bytes.subarray(0, end + 1).toString('latin1');
  const [, protocol, ...parts] = line.endsWith('\r\n') ? line.slice(0, -2).split(' ') : [];
  if (protocol === 'UNKNOWN') return fault('protocol UNKNOWN is not supported');
  const [source, destination, sourcePort, destinationPort] = parts;
  if (parts.length !== 4 || (protocol !== 'TCP4' && protocol !== 'TCP6')) return fault('malformed line');
  const family = protocol === 'TCP4' ? 4 : 6;
  const address = addressOf(source, family);
  if (address === undefined || addressOf(destination, family) === undefined)
    return fault(`expected two ${protocol} addresses`);
  if (!isPort(sourcePort) || !isPort(destinationPort)) return fault('expected two ports');
  return { kind: 'header', bytes: end + 1, source: { address, port: Number(sourcePort) } };
}

/** The notation must be that of the family: `::ffff:192.0.2.1` is IPv4, but valid for TCP6 only. */
function addressOf(text = '', family: 4 | 6): Address | undefined {
  return text.includes(':') === (family === 6) ? parseAddress(text) : undefined;
}

function isPort(text = ''): boolean {
  return PORT.test(text) && Number(text) <= 65535;
}

function readV2(bytes: Buffer): ProxyHeaderProgress {
  if (bytes.length < V2_FIXED_BYTES) return { kind: 'more', neededBytes: V2_FIXED_BYTES };
  const command = bytes[12];
  if (command !== 0x20 && command !== 0x21) return fault('unknown version or command');
  const total = V2_FIXED_BYTES + bytes.readUInt16BE(14);
  if (total > MAX_V2_BYTES) return fault('the header is too large');
  if (bytes.length < total) return { kind: 'more', neededBytes: total };
  const header = bytes.subarray(0, total);
  // LOCAL: the rest is skipped unread (§2.2).
  if (command === 0x20) return { kind: 'header', bytes: total };
  const kind = KINDS.get(header[13] ?? 0);
  if (kind === undefined) return fault('the connection is not TCP over IPv4 or IPv6');
  const extensions = V2_FIXED_BYTES + kind.addressBytes * 2 + 4;
  if (total < extensions) return fault('the header is too short for its addresses');
  const problem = extensionsProblem(header, extensions);
  if (problem !== undefined) return fault(problem);
  const address = addressAt(header, kind.addressBytes);
  if (address === undefined) return fault('the source is not an address');
  const port = header.readUInt16BE(V2_FIXED_BYTES + kind.addressBytes * 2);
  return { kind: 'header', bytes: total, source: { address, port } };
}

function addressAt(header: Buffer, addressBytes: 4 | 16): Address | undefined {
  const raw = header.subarray(V2_FIXED_BYTES, V2_FIXED_BYTES + addressBytes);
  if (addressBytes === 4) return parseAddress([...raw].join('.'));
  const groups = Array.from({ length: 8 }, (_, index) => raw.readUInt16BE(index * 2).toString(16));
  return parseAddress(groups.join(':'));
}

/** Type, length and value, repeated to the last byte; a CRC-32C among them must match (§2.2.3). */
function extensionsProblem(header: Buffer, start: number): string | undefined {
  let at = start;
  while (at < header.length) {
    const end = at + 3 + (at + 3 <= header.length ? header.readUInt16BE(at + 1) : 0);
    if (end > header.length || at + 3 > header.length) return 'an extension is longer than the header';
    if (header[at] === CRC32C_TYPE && !hasChecksum(header, at + 3, end)) return 'the checksum does not match';
    at = end;
  }
  return undefined;
}

/** The checksum covers the whole header, with zeros in its own place. */
function hasChecksum(header: Buffer, at: number, end: number): boolean {
  if (end - at !== 4) return false;
  const before = crc32c(new Uint8Array(4), crc32c(header.subarray(0, at)));
  return crc32c(header.subarray(end), before) === header.readUInt32BE(at);
}

function fault(reason: string): ProxyHeaderProgress {
  return { kind: 'fault', reason: `PROXY header: ${reason}` };
}
