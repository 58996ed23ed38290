/** Resident memory: at rest, per running stream, and over one long stream. */

import { MIB } from '../../gateway/core/units.ts';
import { WEIGHT_PATCH_TYPE } from '../../gateway/patch/layout.ts';
import { residentBytes } from './cpu.ts';
import { openCallers, withCaller } from './measure.ts';
import { print } from './print.ts';
import type { MemoryResult } from './results.ts';
import { body, upload } from './stream-loads.ts';
import type { Side, Yard } from './yard.ts';

const STREAMS = 64;
const STREAM_BYTES = 32 * MIB;
/** Pause of a caller after every 4 MiB. */
const PAUSE_MS = 100;
const LOOK_MS = 20;
const GIB = 1024 * MIB;

/** Must run before any load, since a process rarely returns memory that it has used. */
export async function measureMemory(yard: Yard, sides: readonly Side[]): Promise<MemoryResult> {
  const found: MemoryResult['sides'][number][] = [];
  for (const side of sides) {
    const idle = residentBytes(side.pid);
    const callers = await openCallers(yard, side, STREAMS);
    const connected = residentBytes(side.pid);
    let most = connected;
    const timer = setInterval(() => {
      most = Math.max(most, residentBytes(side.pid));
    }, LOOK_MS);
    await Promise.all(
      callers.map((caller) =>
        caller.put('/up', WEIGHT_PATCH_TYPE, body(STREAM_BYTES), STREAM_BYTES, PAUSE_MS),
      ),
    );
    clearInterval(timer);
    for (const caller of callers) caller.close();
    found.push({
      name: side.name,
      idleMib: Math.round(idle / MIB),
      kibPerStream: Math.round((most - connected) / 1024 / STREAMS),
    });
  }
  return { streams: STREAMS, sides: found };
}

export function printMemory({ streams, sides }: MemoryResult): void {
  print(`\nresident memory, and growth with ${streams} uploads at once`);
  for (const { name, idleMib, kibPerStream } of sides)
    print(`  ${name.padEnd(22)} ${idleMib} MiB at rest, at most ${kibPerStream} KiB per stream`);
}

/** Sends one upload of that many GiB, and prints the resident memory after each. */
export async function reportResident(yard: Yard, gibibytes: number): Promise<void> {
  const { pid } = yard.patchgate;
  const resident = (): string => `${(residentBytes(pid) / MIB).toFixed(0)} MiB`;
  print(`\none upload of ${gibibytes} GiB; resident before: ${resident()}`);
  function* watched(): Generator<Buffer> {
    let sent = 0;
    for (const piece of body(gibibytes * GIB)) {
      yield piece;
      sent += piece.length;
      if (sent % GIB === 0) print(`  after ${String(sent / GIB).padStart(3)} GiB   ${resident()}`);
    }
  }
  await withCaller(yard, yard.patchgate, (caller) => upload(caller, '/up', watched(), gibibytes * GIB));
}
