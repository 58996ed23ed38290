/** A data plane process for the handoff bench: reports what it has received, and its longest pause. */

import { DataEnd } from '../../gateway/handoff/data-end.ts';
import type { Policy } from '../../gateway/policy/policy.ts';

/** A message to the bench. */
export interface HandoffReport {
  /** `up`: the process runs; `has`: its policy or lists changed; `pause`: it was asked for `longestMs`. */
  readonly bench: 'up' | 'has' | 'pause';
  readonly generation: number;
  /** Number of prefixes in all lists. */
  readonly prefixes: number;
  /** Longest time between two calls of a timer that is due every millisecond. */
  readonly longestMs: number;
}

let longestMs = 0;
let lastMs = performance.now();
setInterval(() => {
  const nowMs = performance.now();
  longestMs = Math.max(longestMs, nowMs - lastMs);
  lastMs = nowMs;
}, 1);

const send = (message: unknown): void => void process.send?.(message);
const NOTHING: Pick<Policy, 'generation' | 'tenants'> = { generation: 0, tenants: new Map() };

const end: DataEnd = new DataEnd({
  channel: { send },
  onFault: (fault) => {
    throw new Error(fault);
  },
});

end.onChange(() => report('has'));
let policy: Policy | undefined;
void end.started.then((first) => {
  policy = first;
  report('has');
});

function report(bench: HandoffReport['bench']): void {
  const { generation, tenants } = policy === undefined ? NOTHING : end.policy();
  const lists = [...tenants.values()].flatMap((tenant) => [...tenant.lists.values()]);
  const parts = lists.flatMap((list) => list.parts);
  const prefixes = parts.reduce((sum, { contents }) => sum + (contents?.tree.size ?? 0), 0);
  send({ bench, generation, prefixes, longestMs } satisfies HandoffReport);
}

process.on('message', (message: { readonly bench?: 'reset' | 'pause' }) => {
  if (message.bench === 'reset') longestMs = 0;
  else if (message.bench === 'pause') report('pause');
  else end.receive(message);
});
report('up');
