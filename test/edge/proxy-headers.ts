/** PROXY headers as proxies write them. */

import { isIPv4 } from 'node:net';
import { parseAddress } from '../../gateway/core/address.ts';
import { crc32c } from '../../gateway/core/crc32c.ts';

export function v1(source: string, port = 4711): Buffer {
  const [family, destination] = isIPv4(source) ? ['TCP4', '192.0.2.1'] : ['TCP6', '2001:db8::1'];
  return Buffer.from(`PROXY ${family} ${source} ${destination} ${port} 8443\r\n`, 'latin1');
}

export interface V2Options {
  /** 0x20 for LOCAL, 0x21 for PROXY. */
  readonly command?: number;
  readonly family?: number;
  readonly extensions?: Buffer;
  /** The length to write instead of the right one. */
  readonly length?: number;
}

/** A checksum among the extensions is filled in if it is four zeros. */
export function v2(source: string, options: V2Options = {}): Buffer {
  const four = isIPv4(source);
  const { command = 0x21, family = four ? 0x11 : 0x21, extensions = Buffer.alloc(0) } = options;
  const addresses = Buffer.concat([raw(source), raw(four ? '192.0.2.1' : '2001:db8::1')]);
  const ports = Buffer.from([0x12, 0x67, 0x20, 0xfb]);
  const body = Buffer.concat([addresses, ports, extensions]);
  const start = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
  const fixed = Buffer.from([command, family, 0, 0]);
  fixed.writeUInt16BE(options.length ?? body.length, 2);
  return Buffer.concat([start, fixed, body]);
}

export function extension(type: number, value: Buffer): Buffer {
  const head = Buffer.from([type, 0, 0]);
  head.writeUInt16BE(value.length, 1);
  return Buffer.concat([head, value]);
}

/** The header with the checksum at its end filled in. */
export function checksummed(source: string): Buffer {
  const header = v2(source, { extensions: extension(3, Buffer.alloc(4)) });
  header.writeUInt32BE(crc32c(header), header.length - 4);
  return header;
}

function raw(text: string): Buffer {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(text);
  const bytes = Buffer.alloc(address.words.length * 4);
  for (const [index, word] of address.words.entries()) bytes.writeUInt32BE(word, index * 4);
  return bytes;
}
