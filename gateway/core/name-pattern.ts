/** Patterns of names, with `*` for any run of characters: matching is linear in the name, whatever the pattern. */

export interface NamePattern {
  /** As written. */
  readonly text: string;
  /** The literal texts between the stars, in order. */
  readonly parts: readonly string[];
}

/** Compiles a pattern such as `*.lora_A.*`. The star is the only special character, and matches dots as well. */
export function namePattern(text: string): NamePattern {
  return { text, parts: text.split('*') };
}

/** Whether the whole name matches: the ends are anchored, and each part in between matches where it first occurs. */
export function matchesName({ parts }: NamePattern, name: string): boolean {
  const first = parts[0] ?? '';
  if (parts.length === 1) return name === first;
  const last = parts.at(-1) ?? '';
  const end = name.length - last.length;
  if (!name.startsWith(first) || !name.endsWith(last)) return false;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= end;
}
