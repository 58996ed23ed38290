/** A file system of a few KiB that tests can fill up. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

export interface SmallDisk {
  readonly folder: string;
  /** Fills the disk until nothing more can be written. */
  fill(): void;
  empty(): void;
}

/** Why tests that need such a disk are skipped here. */
export function skipWithoutMount(): string | false {
  const folder = mkdtempSync(join(tmpdir(), 'patchgate-disk-'));
  try {
    mount(folder);
    execFileSync('umount', ['-l', folder]);
    return false;
  } catch {
    return 'no file system can be mounted here: that takes root';
  } finally {
    rmdirSync(folder);
  }
}

export function smallDisk(t: Test): SmallDisk {
  const folder = mkdtempSync(join(tmpdir(), 'patchgate-disk-'));
  mount(folder);
  t.teardown(() => {
    execFileSync('umount', ['-l', folder]);
    rmdirSync(folder);
  });
  const filler = join(folder, 'filler');
  return {
    folder,
    fill: () => {
      for (const bytes of [65_536, 4096, 1])
        try {
          for (;;) writeFileSync(filler, Buffer.alloc(bytes), { flag: 'a' });
        } catch {
          // The disk is full for pieces of that size.
        }
    },
    empty: () => unlinkSync(filler),
  };
}

function mount(folder: string): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', folder], { stdio: 'ignore' });
}
