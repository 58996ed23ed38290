/** The white space of HTTP fields (OWS, RFC 9110 §5.6.3): spaces and tabs, and nothing else. */

const SPACE = 0x20;
const TAB = 0x09;

/** Removes spaces and tabs at both ends. `trim` would remove more, and a regular expression takes quadratic time. */
export function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}
