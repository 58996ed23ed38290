/** The name of a Redis. */

/** For people: the address without who the gateway is there. */
export function nameOf(url: string): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}
