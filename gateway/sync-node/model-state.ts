/** What a sync node knows about a model besides its weights: one small file, replaced as a whole. */

import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { syncFolder } from '../patch/safetensors.ts';

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.number().int().nonnegative();

const modelVersion = z.strictObject({
  digest,
  parameters: count,
  /** The patch that made it, for receivers that have its base; the first version has none. */
  patch: z.strictObject({ base: count, bytes: count }).optional(),
});

const modelState = z.strictObject({
  /** The version that patches start from. */
  version: count,
  /** Versions on disk, by number. */
  versions: z.record(z.string(), modelVersion),
  /** Versions that are kept however old they get. */
  published: z.array(count),
  /** Streams applied, by id, with what they made: a stream sent again is answered from here. */
  streams: z.record(z.string(), z.strictObject({ version: count, changed: count, digest, bytes: count })),
});

export type ModelState = z.output<typeof modelState>;
export type ModelVersion = z.output<typeof modelVersion>;

export const STATE_FILE = 'state.json';

/** Reads the state in a model's folder; returns undefined if there is no model. Throws if the file is not a state. */
export async function readState(folder: string): Promise<ModelState | undefined> {
  const text = await readFile(join(folder, STATE_FILE), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
  return text === undefined ? undefined : modelState.parse(JSON.parse(text));
}

/** Replaces the state: after a crash there is the old one or the new one, whole. */
export async function writeState(folder: string, state: ModelState): Promise<void> {
  await replaceFile(folder, STATE_FILE, JSON.stringify(state));
}

/** Writes a small file so that it holds the old text or the new one at any moment. */
export async function replaceFile(folder: string, name: string, text: string): Promise<void> {
  const temporary = join(folder, `${name}.new`);
  const file = await open(temporary, 'w');
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, join(folder, name));
  await syncFolder(folder);
}

/** The state with a new version; keeps the latest `keep` versions and the published ones. */
export function withVersion(
  state: ModelState,
  made: ModelVersion & { readonly version: number },
  keep: number,
): ModelState {
  const { version, ...described } = made;
  const versions: ModelState['versions'] = { ...state.versions, [version]: described };
  const numbers = Object.keys(versions).map(Number);
  const kept = new Set([...numbers.sort((a, b) => a - b).slice(-keep), ...state.published]);
  for (const number of numbers) if (!kept.has(number)) delete versions[number];
  return { ...state, version, versions };
}
