/** The grammar of the Forwarded field (RFC 7239 §4), parsed strictly from left to right. */

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const QUOTED = String.raw`"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*)"`;
/** One `name=value` of an element; each of them may be left out. */
const PAIR = new RegExp(`^(${TOKEN})=(?:(${TOKEN})|${QUOTED})`);
/** What separates two pairs: a semicolon within an element, a comma between elements. */
const SEPARATOR = /^[ \t]*([,;])[ \t]*/;
const ESCAPED = /\\(.)/gs;

/**
 * The `for` value of every element over all lines, in order, unquoted; an empty string for an element without one,
 * and for an empty element.
 * Returns an error string if a line breaks the grammar or an element names a parameter twice.
 */
export function forwardedNodes(lines: readonly string[]): readonly string[] | string {
  const nodes: string[] = [];
  for (const line of lines) {
    if (!readLine(line, nodes)) return 'The Forwarded field is malformed';
  }
  return nodes;
}

/** Adds the nodes of one line. A quoted string never continues on the next line. */
function readLine(line: string, nodes: string[]): boolean {
  let element = new Map<string, string>();
  let rest = line;
  for (;;) {
    const [pair = '', name = '', token, quoted = ''] = PAIR.exec(rest) ?? [];
    if (element.has(name.toLowerCase())) return false;
    if (pair !== '') element.set(name.toLowerCase(), token ?? quoted.replace(ESCAPED, '$1'));
    rest = rest.slice(pair.length);
    const [separator, mark] = SEPARATOR.exec(rest) ?? [];
    if (mark !== ';') {
      nodes.push(element.get('for') ?? '');
      element = new Map();
    }
    if (separator === undefined) return rest === '';
    rest = rest.slice(separator.length);
  }
}
