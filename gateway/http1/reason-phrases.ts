/** The reason phrases of statuses, as Node knows them. */

import { createRequire } from 'node:module';

/** An `import` of node:http makes all of its exports, and for one of them loads the whole of Node's own undici. */
const { STATUS_CODES }: typeof import('node:http') = createRequire(import.meta.url)('node:http');

/** Empty for a status nobody has named. */
export function reasonPhrase(status: number): string {
  return STATUS_CODES[status] ?? '';
}
