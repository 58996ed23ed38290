/** Folders for running processes: tap removes a `testdir` before it ends what a test has started there. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

/** The folder is removed with the test, after everything that is started after this call. */
export async function newFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'patchgate-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
