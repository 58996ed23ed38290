/** A caller that vanishes, wherever and however, takes only its own request with it. */
import t from 'tap';
import { callerRows } from './caller-rows.ts';
import { playFault } from './fault-stage.ts';

for (const row of callerRows) t.test(`${row.fault} (${row.way})`, (t) => playFault(t, row));
