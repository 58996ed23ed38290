/** Text in a line of JSON that log readers and terminals get to see. */

const VALUE_CHARACTERS = 2048;
/** Printable ASCII that needs no escape: the only text that goes in as it is. */
const PLAIN = /^[ !#-[\]-~]*$/;
/** What `JSON.stringify` leaves as it is though a terminal or a line reader may act on it. */
const ACTIVE = /[\u007f-\u009f\u2028\u2029]/g;

/** A JSON string on one line: its first 2048 characters, with no byte in it that could start another line. */
export function jsonText(value: string): string {
  const capped = value.length > VALUE_CHARACTERS ? value.slice(0, VALUE_CHARACTERS) : value;
  if (PLAIN.test(capped)) return `"${capped}"`;
  return JSON.stringify(capped).replace(ACTIVE, escapeCharacter);
}

const escapeCharacter = (character: string): string =>
  `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
