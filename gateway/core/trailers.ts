/** Which fields may follow a body (RFC 9110 §6.5.1): none that affects how it is framed, routed, authorized or read. */

import { isOwned } from './headers.ts';

/** Framing, routing, request modifiers, authentication, response control and content format. */
const NEVER: ReadonlySet<string> = new Set(
  (
    'age allow authorization cache-control connection content-disposition content-encoding content-language ' +
    'content-length content-location content-range content-type cookie date expect expires host http2-settings ' +
    'if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive location max-forwards pragma ' +
    'proxy-authenticate proxy-authorization proxy-connection range retry-after set-cookie te trailer ' +
    'transfer-encoding upgrade vary warning www-authenticate'
  ).split(' '),
);

/** Whether a route may name this field as a trailer. */
export function mayBeTrailer(name: string): boolean {
  const lower = name.toLowerCase();
  return !NEVER.has(lower) && !lower.startsWith('sec-') && !isOwned(lower);
}

/** The lines of the `asked` names (lower case) among `trailers` (name, value, name, value …), each ending in CRLF. */
export function trailerLines(trailers: readonly string[], asked: ReadonlySet<string>): string {
  let text = '';
  for (let i = 0; i < trailers.length; i += 2) {
    const name = trailers[i] ?? '';
    if (asked.has(name.toLowerCase())) text += `${name}: ${trailers[i + 1]}\r\n`;
  }
  return text;
}
