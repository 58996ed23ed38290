/** Server addresses may contain a password, which messages must not quote. */

/** Replaces all that comes before the last `@` by `…`, also in a text that is not a valid address. */
export function withoutCredentials(text: string): string {
  const at = text.lastIndexOf('@');
  return at < 0 ? text : `…${text.slice(at)}`;
}
