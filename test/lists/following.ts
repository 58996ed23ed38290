/** A list that follows a source, as a test sees it. */

import type { Test } from 'tap';
import { parseAddress } from '../../gateway/core/address.ts';
import { formatFault } from '../../gateway/core/fault.ts';
import { type ListContents, prefixReader } from '../../gateway/lists/contents.ts';
import { type Feed, LiveList } from '../../gateway/lists/live-list.ts';

export interface Followed {
  readonly list: LiveList<ListContents>;
  has(address: string): boolean;
  size(): number | undefined;
  faults(): readonly string[];
  /** How often the list in force or its faults changed. */
  changes(): number;
  readonly warnings: readonly string[];
}

export function follow(t: Test, feed: Feed): Followed {
  let changes = 0;
  const warnings: string[] = [];
  const list = new LiveList(feed, {
    reader: prefixReader,
    onChange: () => {
      changes += 1;
    },
    onWarning: (_, warning) => warnings.push(warning),
  });
  t.teardown(() => list.close());
  return {
    list,
    has: (text) => {
      const address = parseAddress(text);
      return address !== undefined && list.contents?.tree.contains(address) === true;
    },
    size: () => list.contents?.tree.size,
    faults: () => list.faults.map(formatFault),
    changes: () => changes,
    warnings,
  };
}
