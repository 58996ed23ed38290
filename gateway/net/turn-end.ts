/** Runs work at the end of a turn of the event loop, when all that could be read was read. */

const deliveries: (() => void)[] = [];
const writes: (() => void)[] = [];
let scheduled = false;

/** Runs `deliver` once, before the writes that wait then: it passes on what was read, which may add writes. */
export function deliverAtTurnEnd(deliver: () => void): void {
  deliveries.push(deliver);
  schedule();
}

/** Runs `write` once, after every delivery of the turn or in `writeGathered`. */
export function writeAtTurnEnd(write: () => void): void {
  writes.push(write);
  schedule();
}

/** Runs every write added so far, now. */
export function writeGathered(): void {
  for (let write = writes.shift(); write !== undefined; write = writes.shift()) write();
}

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  setImmediate(runAll);
}

function runAll(): void {
  try {
    for (let deliver = deliveries.shift(); deliver !== undefined; deliver = deliveries.shift()) deliver();
    writeGathered();
  } finally {
    scheduled = false;
    // Only if one threw is work left: as with setImmediate, the rest still runs.
    if (deliveries.length + writes.length > 0) schedule();
  }
}
