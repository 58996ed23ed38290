/** Finds server names that have no certificate folder. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileFault, type PolicyFault } from '../core/fault.ts';
import { identityFolder } from './server-identity.ts';

/** Returns a fault for each server name without a folder. Cost: one `readdir`; the folders are not opened. */
export async function missingFolders(
  certificates: string,
  serverNames: Iterable<string>,
): Promise<readonly PolicyFault[]> {
  let present: ReadonlySet<string>;
  try {
    present = new Set(await readdir(certificates));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    return [fileFault(certificates, `cannot be read: ${code}`)];
  }
  return [...serverNames].flatMap((serverName) => {
    const folder = identityFolder('', serverName);
    return present.has(folder)
      ? []
      : [fileFault(join(certificates, folder), `there is no folder for ${serverName}`)];
  });
}
