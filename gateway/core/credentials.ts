/** Addresses of servers may hold a password; what quotes them leaves it out. */

/** The text without all that comes before its last `@`, whatever else is wrong with it. */
export function withoutCredentials(text: string): string {
  const at = text.lastIndexOf('@');
  return at < 0 ? text : `…${text.slice(at)}`;
}
