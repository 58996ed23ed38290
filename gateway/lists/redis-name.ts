/** The display name of a Redis server. */

/** Returns the address without user, password and database. */
export function nameOf(url: string): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}
