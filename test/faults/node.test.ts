/** A failure of a node is never mistaken for a good answer and costs nobody else anything. */
import t from 'tap';
import { playFault } from './fault-stage.ts';
import { nodeRows } from './node-rows.ts';

for (const row of nodeRows) t.test(row.fault, (t) => playFault(t, row));
