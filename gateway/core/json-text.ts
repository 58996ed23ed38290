/** Text in a line of JSON that log readers and terminals get to see. */

const VALUE_CHARACTERS = 2048;
/** Printable ASCII that needs no escape: the only text that goes in as it is. */
const PLAIN = /^[ !#-[\]-~]*$/;
/** What `JSON.stringify` leaves as it is though a terminal or a line reader may act on it. */
const ACTIVE = /[\u007f-\u009f\u2028\u2029]/g;

/** The member `,"key":"value"`, as `jsonText` writes the value; empty where there is none. `key` needs no escape. */
export function textMember(key: string, value: string | undefined): string {
  return value === undefined ? '' : `,"${key}":${jsonText(value)}`;
}

/** A JSON string on one line: its first 2048 characters, with no byte in it that could start another line. */
export function jsonText(value: string): string {
  const capped = value.length > VALUE_CHARACTERS ? value.slice(0, VALUE_CHARACTERS) : value;
  if (PLAIN.test(capped)) return `"${capped}"`;
  return escapeActive(JSON.stringify(capped));
}

/** The same JSON, with escapes for the characters that a terminal or a line reader may act on. */
export function escapeActive(json: string): string {
  return json.replace(ACTIVE, escapeCharacter);
}

const escapeCharacter = (character: string): string =>
  `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
