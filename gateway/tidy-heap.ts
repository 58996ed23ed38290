/** Gives back the memory that a start leaves behind: modules and lists are read once, and V8 keeps the room they took. */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

interface Collection {
  readonly type: 'major';
  readonly execution: 'sync';
  /** `last-resort`: pages that are free go back to the system too. */
  readonly flavor: 'last-resort';
}

/**
 * Stands still for a tenth of a second and more: to be called before anybody is served. Node has no other way to ask for a
 * collection without a flag on its command line; a context made meanwhile has the function, and nobody else gets it.
 */
export function tidyHeap(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (how: Collection) => void;
  setFlagsFromString('--no-expose-gc');
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}
