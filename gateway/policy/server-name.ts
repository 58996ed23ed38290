/** The syntax of server names in policies. */

/** `name.example.com`, or `*.` before at least two labels. */
const SERVER_NAME =
  /^(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i;

/** Whether the name is valid, and so safe to look up certificates by. */
export function isServerName(name: string): boolean {
  const wild = name.startsWith('*.') && !name.slice(2).includes('.');
  return SERVER_NAME.test(name) && name.length <= 253 && !wild;
}
