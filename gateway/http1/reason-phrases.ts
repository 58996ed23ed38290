/** The reason phrases of statuses, taken from Node. */

import { createRequire } from 'node:module';

/** Not by `import`, which evaluates all exports of node:http, and for one of them loads all of Node's own undici. */
const { STATUS_CODES }: typeof import('node:http') = createRequire(import.meta.url)('node:http');

/** Empty for an unknown status. */
export function reasonPhrase(status: number): string {
  return STATUS_CODES[status] ?? '';
}
