/** The chunked coding as we write it (RFC 9112 §7.1): sizes in hex, no extensions, no trailers. */

export const CRLF = '\r\n';
export const CHUNKED_END = '0\r\n\r\n';

/** The line before a chunk of so many bytes; never of zero, which would end the body. */
export function chunkStart(lengthBytes: number): string {
  return `${lengthBytes.toString(16)}\r\n`;
}
