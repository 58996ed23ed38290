/** The grammar of the Forwarded field (RFC 7239 §4), read strictly from left to right. */

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const QUOTED = String.raw`"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*)"`;
/** One `name=value` of an element, at the place where the last match ended. */
const PAIR = new RegExp(`(${TOKEN})=(?:(${TOKEN})|${QUOTED})`, 'y');
/** What may stand between two pairs. */
const SEPARATOR = /[ \t]*([,;])[ \t]*/y;
const ESCAPED = /\\(.)/gs;

/**
 * The `for` value of every element over all lines, in order, unquoted; an element without one gives an empty string.
 * The answer is a sentence when a line breaks the grammar or an element names a parameter twice.
 */
export function forwardedNodes(lines: readonly string[]): readonly string[] | Fault {
  const nodes: string[] = [];
  for (const line of lines) {
    if (!readLine(line, nodes)) return 'The Forwarded field breaks its grammar';
  }
  return nodes;
}

type Fault = string;

/** Adds the nodes of one line; a quoted string never goes over its end. */
function readLine(line: string, nodes: string[]): boolean {
  let element = new Map<string, string>();
  let at = 0;
  for (;;) {
    PAIR.lastIndex = at;
    const pair = PAIR.exec(line);
    if (pair === null) return false;
    const [, name = '', token, quoted = ''] = pair;
    if (element.has(name.toLowerCase())) return false;
    element.set(name.toLowerCase(), token ?? quoted.replace(ESCAPED, '$1'));
    at = PAIR.lastIndex;
    SEPARATOR.lastIndex = at;
    const separator = SEPARATOR.exec(line);
    if (separator?.[1] !== ';') {
      nodes.push(element.get('for') ?? '');
      element = new Map();
    }
    if (separator === null) return at === line.length;
    at = SEPARATOR.lastIndex;
  }
}
