/** What is around the gateway may fail or flood it: it says so, serves who can be served, and recovers. */
import t from 'tap';
import { playFault } from './fault-stage.ts';
import { systemRows } from './system-rows.ts';

for (const row of systemRows) t.test(row.fault, (t) => playFault(t, row));
