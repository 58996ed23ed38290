/** The chunked coding as we write it (RFC 9112 §7.1): sizes in hex, no extensions. */

export const CRLF = '\r\n';

/** The last chunk, and the trailer lines behind it, CRLF behind each. */
export function chunkedEnd(trailers: string): string {
  return `0\r\n${trailers}\r\n`;
}

/** The line before a chunk of so many bytes; never of zero, which would end the body. */
export function chunkStart(lengthBytes: number): string {
  return `${lengthBytes.toString(16)}\r\n`;
}

/** A smaller piece goes on as text, in one write with what is before and behind it: a write of its own would cost many times its bytes. */
export const SMALL_BYTES = 512;

/** A whole small chunk as Latin-1. */
export function smallChunk(bytes: Buffer): string {
  return `${bytes.length.toString(16)}\r\n${bytes.toString('latin1')}\r\n`;
}
