/** Text in JSON lines that is safe for log readers and terminals. */

const VALUE_CHARACTERS = 2048;
/** Printable ASCII that needs no escape, which is written unchanged. */
const PLAIN = /^[ !#-[\]-~]*$/;
/** Characters that `JSON.stringify` does not escape although a terminal or a line reader may act on them. */
const ACTIVE = /[\u007f-\u009f\u2028\u2029]/g;

/** The member `,"key":"value"`, with `jsonText` of the value; empty if it is undefined. `key` must need no escape. */
export function textMember(key: string, value: string | undefined): string {
  return value === undefined ? '' : `,"${key}":${jsonText(value)}`;
}

/** The first 2048 characters as a JSON string, with no byte in it that could start another line. */
export function jsonText(value: string): string {
  const capped = value.length > VALUE_CHARACTERS ? value.slice(0, VALUE_CHARACTERS) : value;
  if (PLAIN.test(capped)) return `"${capped}"`;
  return escapeActive(JSON.stringify(capped));
}

/** Escapes the characters of a JSON text that a terminal or a line reader may act on. */
export function escapeActive(json: string): string {
  return json.replace(ACTIVE, escapeCharacter);
}

const escapeCharacter = (character: string): string =>
  `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
