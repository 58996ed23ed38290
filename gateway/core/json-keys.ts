/** Finds a duplicate key in an object of a JSON text, which `JSON.parse` would accept silently. */

/** The first duplicate key. `json` must be a text that `JSON.parse` accepts. Takes one pass; nesting uses no stack. */
export function repeatedKey(json: string): string | undefined {
  const open: Set<string>[] = [];
  for (let at = 0; at < json.length; at++) {
    const char = json[at];
    if (char === '{') open.push(new Set());
    else if (char === '}') open.pop();
    else if (char === '"') {
      const end = endOfString(json, at);
      if (isKey(json, end)) {
        const key: string = JSON.parse(json.slice(at, end));
        const keys = open.at(-1);
        if (keys?.has(key)) return key;
        keys?.add(key);
      }
      at = end - 1;
    }
  }
  return undefined;
}

/** The offset behind the closing quote of the string that begins at `at`. */
function endOfString(json: string, at: number): number {
  let end = at + 1;
  while (json[end] !== '"') end += json[end] === '\\' ? 2 : 1;
  return end + 1;
}

/** A string is a key if a colon follows it. */
function isKey(json: string, end: number): boolean {
  let next = end;
  while (' \t\n\r'.includes(json[next] ?? ',')) next += 1;
  return json[next] === ':';
}
