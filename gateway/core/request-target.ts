/** Refuses paths that two readers could read differently; what passes is matched and sent on byte for byte. */

/** What is left to decide about a path that passed. */
export interface PathShape {
  /** It holds `%2F`, which only routes that say so take. */
  readonly encodedSlash: boolean;
}

const SLASH = 0x2f;
/** `/ \ ; % ? #`: what a second decoding, or a first one in the wrong place, would take for structure. */
const STRUCTURE: ReadonlySet<number> = new Set([0x2f, 0x5c, 0x3b, 0x25, 0x3f, 0x23]);
const DELETE = 0x7f;
/** Bytes that may not stand in a path as they are: `\`, `#`, `?`, space, controls, and all beyond ASCII. */
const UNSAFE = /[^\x21\x22\x24-\x3e\x40-\x5b\x5d-\x7e]/;
/**
 * `.` or `..`, each dot perhaps encoded, perhaps with parameters behind `;` that some servers take off first. An encoded
 * slash begins and ends a segment too: a route may allow it, and the node behind may decode it before it looks for dots.
 */
const DOT_SEGMENT = /(?:\/|%2f)(?:\.|%2e){1,2}(?:;(?:(?!%2f)[^/])*)?(?:\/|%2f|$)/i;
const ESCAPE = /^[0-9A-Fa-f]{2}$/;

/**
 * Judges the part of a request target before `?`. Refused: dot segments, empty segments (one at the end too, so
 * `/a/` is refused and `/` alone is not), `\`, `#`, control bytes, bytes beyond ASCII, escapes that are not two
 * hexadecimal digits or not UTF-8, encoded control bytes and encoded structure (RFC 3986 §2.2, §3.3). The answer is then a sentence.
 * Cost: about 0.1 µs for a path without escapes.
 */
export function checkPath(path: string): PathShape | string {
  if (path.charCodeAt(0) !== SLASH) return 'The path must begin with a slash';
  if (path === '/') return PLAIN;
  if (UNSAFE.test(path)) return 'The path holds a character that must be encoded or must not be there';
  if (path.endsWith('/') || path.includes('//')) return 'The path has an empty segment';
  const escaped = path.includes('%');
  if ((escaped || path.includes('/.')) && DOT_SEGMENT.test(path)) return 'The path has a dot segment';
  return escaped ? checkEscapes(path) : PLAIN;
}

const PLAIN: PathShape = { encodedSlash: false };

function checkEscapes(path: string): PathShape | string {
  let encodedSlash = false;
  for (let at = path.indexOf('%'); at >= 0; at = path.indexOf('%', at + 3)) {
    const digits = path.slice(at + 1, at + 3);
    if (!ESCAPE.test(digits)) return 'The path has a broken % escape';
    const byte = Number.parseInt(digits, 16);
    if (byte === SLASH) encodedSlash = true;
    else if (byte < 0x20 || byte === DELETE) return 'The path holds an encoded control character';
    else if (STRUCTURE.has(byte)) return 'The path holds an encoded character that is structure elsewhere';
  }
  if (decodePath(path) === undefined) return 'The escapes in the path are not UTF-8';
  return { encodedSlash };
}

/** The path as a server that decodes once reads it, encoded slashes left alone; nothing when it is not UTF-8. */
export function decodePath(path: string): string | undefined {
  try {
    return path
      .split(/(%2f)/i)
      .map((part, index) => (index % 2 === 1 ? part : decodeURIComponent(part)))
      .join('');
  } catch {
    return undefined;
  }
}

/** The part of a target before `?`. */
export function pathOf(target: string): string {
  const query = target.indexOf('?');
  return query < 0 ? target : target.slice(0, query);
}
