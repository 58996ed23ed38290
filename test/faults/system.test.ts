/** When its surroundings fail or flood it, the gateway says so, serves whom it can, and recovers. */
import t from 'tap';
import { playFault } from './fault-stage.ts';
import { systemRows } from './system-rows.ts';

for (const row of systemRows) t.test(row.fault, (t) => playFault(t, row));
