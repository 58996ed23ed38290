/** Rows of edits and the exact faults each of them causes. */

import type { Test } from 'tap';
import { type Authorities, writePolicyFolder } from './policy-folder.ts';

/** Title, the text that is replaced, its replacement, and the faults without the name of the file. */
export type Row = readonly [title: string, from: string, to: string, ...faults: readonly string[]];

export const TENANT = 'tenants/tenant-a.yaml';

/** Makes a test of each row: the edited folder has just these faults, and the faulty file is not in force. */
export function testRows(t: Test, authorities: Authorities, file: string, rows: readonly Row[]): void {
  for (const [title, from, to, ...faults] of rows) {
    t.test(`the faults are named if ${file} has ${title}`, async (t) => {
      const folder = await writePolicyFolder(t, authorities);
      await folder.edit(file, from, to);
      const loaded = await folder.load();
      t.same(
        loaded.faults,
        faults.map((fault) => `${file}:${fault}`),
      );
      t.equal(loaded.policy?.tenants.size, file === TENANT ? 0 : undefined);
    });
  }
}
