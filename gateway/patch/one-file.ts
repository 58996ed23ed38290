/** Copies a model into one file, however many files it has. */

import { MIB } from '../core/units.ts';
import { copyWritable } from './model-copy.ts';
import { type SafetensorsFile, syncFile, type TensorEntry, writeSafetensors } from './safetensors.ts';
import { openModel } from './shards.ts';

const PIECE_BYTES = MIB;

/**
 * Writes the model at `from` (see `openModel`) to the file `to`, which is on disk when this resolves. One file is
 * copied byte for byte; several are joined, without any metadata. Throws SafetensorsError and Node's file errors.
 */
export async function copyAsOneFile(from: string, to: string): Promise<void> {
  const model = await openModel(from);
  try {
    const [only, ...others] = model.parts;
    if (only === undefined || others.length > 0) {
      await writeSafetensors(
        to,
        model.tensors.map((entry) => ({ ...entry, data: piecesOf(model, entry) })),
      );
      return;
    }
    await copyWritable(only.path, to);
  } finally {
    await model.close();
  }
  await syncFile(to);
}

async function* piecesOf(model: SafetensorsFile, entry: TensorEntry): AsyncIterable<Buffer> {
  for (let at = 0; at < entry.byteLength; at += PIECE_BYTES) {
    yield await model.read(entry, at, Math.min(PIECE_BYTES, entry.byteLength - at));
  }
}
