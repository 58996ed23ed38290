/** Names with `*` in them, for any run of characters: matched in time linear in the name, whatever the pattern. */

export interface NamePattern {
  /** As written. */
  readonly text: string;
  /** What stands between the stars, in order. */
  readonly parts: readonly string[];
}

/** `*.lora_A.*`; a star is the only character with a meaning, and takes dots as well. */
export function namePattern(text: string): NamePattern {
  return { text, parts: text.split('*') };
}

/** Whether the whole name fits: the ends are fixed, and each part in between is taken where it first comes. */
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
