/** Prints the results of the weight patch benches. */

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MIB } from '../../gateway/core/units.ts';
import { WEIGHT_PATCH_TYPE } from '../../gateway/patch/layout.ts';
import type { SparseRun } from '../patch/sparse-model.ts';
import { cpuNs } from './cpu.ts';
import { Caller } from './load.ts';
import { chosen, measureChanges, measureChecks, measureSizes, OFTEN, streamOf } from './patches.ts';
import { median, print, spread } from './print.ts';
import type { Yard } from './yard.ts';

const MB = 1e6;
const GB = 1e9;
/** Published figures for 150,000 changes of ten million float32, from the article that this project started from. */
const ARTICLE = { wholeBytes: 40 * MB, wholeMs: 85, patchBytes: 1.2 * MB, patchMs: 12 };
const modelBytes = 40 * MB;
const changes = 150_000;

export async function reportPatches(rounds: number): Promise<void> {
  print(
    '\nsizes of patches of 10,000,000 float32 (40.0 MB), MB of the whole stream, and ratio to the target size',
  );
  for (const { share, runLength, encoding, changes, bytes, aim } of await measureSizes()) {
    const what = `${(share * 100).toFixed(0).padStart(2)} % ${runLength === 1 ? 'random' : 'runs'.padEnd(6)} ${encoding}`;
    print(
      `  ${what.padEnd(20)} ${(bytes / MB).toFixed(3)}   ${(bytes / aim).toFixed(3)} ×   1/${(modelBytes / bytes).toFixed(1)} of the model, ${changes} changes`,
    );
  }
  const { bytes, ms } = await measureChecks(rounds);
  print(
    `\ncheck of a patch of ${(bytes / MB).toFixed(1)} MB in chunks of 64 KiB, GB/s, best of ${OFTEN * rounds} rounds`,
  );
  for (const [name, each] of Object.entries(ms)) {
    const beside =
      name === 'crc32' ? 'the floor' : `${(each / (ms['crc32'] ?? Number.NaN)).toFixed(2)} × crc32`;
    print(`  ${name.padEnd(20)} ${(bytes / GB / (each / 1000)).toFixed(2)}   ${beside}`);
  }
  const found = await measureChanges(rounds);
  print(
    `\n${found.changes} changes of 10,000,000 float32 in memory, ms, best of ${OFTEN * rounds} rounds (diff: ${rounds})`,
  );
  const floors: Readonly<Record<string, string>> = {
    apply: 'plain store',
    diff: 'plain pass',
    'diff of files in memory': 'plain pass',
  };
  for (const [name, each] of Object.entries(found.ms)) {
    const floor = floors[name];
    const beside =
      floor === undefined
        ? 'the floor'
        : `${(each / (found.ms[floor] ?? Number.NaN)).toFixed(2)} × a ${floor}`;
    print(`  ${name.padEnd(24)} ${each.toFixed(2).padStart(6)}   ${beside}`);
  }
  print(
    `  published: apply 12 ms, ${(ARTICLE.patchMs / (found.ms['apply'] ?? Number.NaN)).toFixed(1)} × the row above, on another machine`,
  );
}

/** Sends the same update through the gateway as a patch and as the whole model, and prints the ratios. */
export async function reportWholeUpdate(yard: Yard, rounds: number): Promise<void> {
  const patch = await streamOf(chosen(changes, 1), 'f32');
  const whole = Buffer.alloc(modelBytes, 'w');
  const rows = {
    patch: { ms: [] as number[], cpuMs: [] as number[] },
    whole: { ms: [] as number[], cpuMs: [] as number[] },
  };
  const caller = new Caller(await yard.connect(yard.patchgate), yard.token);
  const send = async (row: keyof typeof rows, path: string, body: Buffer): Promise<void> => {
    const [began, cpu] = [performance.now(), cpuNs(yard.patchgate.pid)];
    const pieces = Array.from({ length: Math.ceil(body.length / 262_144) }, (_, k) =>
      body.subarray(k * 262_144, (k + 1) * 262_144),
    );
    const answer = await caller.put(path, WEIGHT_PATCH_TYPE, pieces, body.length);
    if (answer.status !== 200 || Number(answer.body) !== body.length)
      throw new Error(`${answer.status}: ${answer.body}`);
    rows[row].ms.push(performance.now() - began);
    rows[row].cpuMs.push((cpuNs(yard.patchgate.pid) - cpu) / 1e6);
  };
  for (let left = rounds; left > 0; left--) {
    await send('patch', '/deep/bench', patch);
    await send('whole', '/up', whole);
  }
  caller.close();
  print(
    `\nthe same update (${changes} of 10,000,000 float32) through the gateway, medians of ${rounds} rounds`,
  );
  for (const [name, { ms, cpuMs }] of Object.entries(rows)) {
    const size = name === 'patch' ? patch.length : whole.length;
    print(
      `  ${name.padEnd(8)} ${(size / MB).toFixed(2).padStart(6)} MB ${median(ms).toFixed(1).padStart(7)} ms, ${median(cpuMs).toFixed(1)} ms of the gateway's CPU`,
    );
  }
  const ratios = (pick: 'ms' | 'cpuMs') =>
    spread(rows.whole[pick].map((each, k) => each / (rows.patch[pick][k] ?? Number.NaN)));
  print(`  whole / patch: bytes ${(whole.length / patch.length).toFixed(1)}, time ${ratios('ms')}`);
  print(`  whole / patch: CPU ${ratios('cpuMs')}`);
  const { wholeBytes, patchBytes, wholeMs, patchMs } = ARTICLE;
  print(
    `  published: bytes ${(wholeBytes / patchBytes).toFixed(1)} (40.0 MB, 1.2 MB), time ${(wholeMs / patchMs).toFixed(1)} (85 ms, 12 ms), on another machine`,
  );
}

/** Makes, compares, patches and verifies a sparse model of 20 GB in a separate process. */
export async function reportLargeModel(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'patchgate-large-'));
  try {
    const script = new URL('../patch/sparse-model.ts', import.meta.url).pathname;
    const { stdout } = await promisify(execFile)(process.execPath, [script, folder, String(20 * GB)]);
    const run: SparseRun = JSON.parse(stdout);
    if (!run.isTarget) throw new Error('the patched model is not the target');
    print(
      `\na sparse model of ${(run.modelBytes / GB).toFixed(1)} GB, patched and verified in ${run.seconds.toFixed(0)} s`,
    );
    print(`  peak resident        ${(run.peakResidentBytes / MIB).toFixed(0)} MiB`);
    print(`  patch                ${run.patchBytes} bytes, ${run.changed} changes`);
    print(`  patched model        ${(run.storedBytes / MIB).toFixed(0)} MiB on disk`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
