/** What a sync node knows of a model beside its weights: one small file, replaced whole. */

import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const version = z.number().int().nonnegative();

const modelState = z.strictObject({
  /** The version that patches start from. */
  version,
  /** Versions on disk, by number. */
  versions: z.record(z.string(), z.strictObject({ digest, parameters: z.number().int().nonnegative() })),
  /** Versions that stay however old they get. */
  published: z.array(version),
  /** Streams applied, by id, with what they made: a stream sent again is answered from here. */
  streams: z.record(z.string(), z.strictObject({ version, changed: z.number().int(), digest })),
});

export type ModelState = z.output<typeof modelState>;

const FILE = 'state.json';

/** The state in a model's folder; nothing where there is no model. Throws on a file that is no state. */
export async function readState(folder: string): Promise<ModelState | undefined> {
  const text = await readFile(join(folder, FILE), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
  return text === undefined ? undefined : modelState.parse(JSON.parse(text));
}

/** Puts the state in place of the old one: after a crash there is the old one or the new one, whole. */
export async function writeState(folder: string, state: ModelState): Promise<void> {
  const temporary = join(folder, `${FILE}.new`);
  const file = await open(temporary, 'w');
  try {
    await file.writeFile(JSON.stringify(state));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, join(folder, FILE));
  await syncFolder(folder);
}

/** A rename survives a crash only once its folder is on disk. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
