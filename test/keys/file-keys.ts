/** The key set of a JWKS text, as a file would give it. */

import { FileKeySet, type KeySet, keysReader } from '../../gateway/keys/key-set.ts';
import { isFaults } from '../../gateway/lists/live-list.ts';
import { runSliced } from '../../gateway/lists/run-sliced.ts';

/** Returns the keys, or what is wrong with the text. */
export async function fileKeys(text: string): Promise<KeySet | string> {
  const read = await runSliced(keysReader.text('keys.json', text, 0), () => true);
  if (read === undefined) throw new Error('not read');
  if (isFaults(read)) return read.map(({ problem }) => problem).join('\n');
  return new FileKeySet({ place: 'keys.json', contents: read, isCurrent: true });
}
