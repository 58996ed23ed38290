/** Returns the memory that the start used: modules and lists are read once, and V8 keeps the space they took. */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

interface Collection {
  readonly type: 'major';
  readonly execution: 'sync';
  /** `last-resort`: returns free pages to the system too. */
  readonly flavor: 'last-resort';
}

/**
 * Blocks for a tenth of a second or more, so call it before any caller is served. Node has no other way to request a
 * collection without a command-line flag. Only the context made while the flag is set has the function.
 */
export function tidyHeap(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (how: Collection) => void;
  setFlagsFromString('--no-expose-gc');
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}
