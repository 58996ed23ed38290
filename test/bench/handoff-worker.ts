/** A data plane of its own process, as the bench of the handoff starts them: tells what it has, and how long it stood still. */

import { DataEnd } from '../../gateway/handoff/data-end.ts';
import type { Policy } from '../../gateway/policy/policy.ts';

/** What the bench is told. */
export interface HandoffReport {
  /** It runs, it has something new, or it was asked. */
  readonly bench: 'up' | 'has' | 'pause';
  readonly generation: number;
  /** Of all lists together. */
  readonly prefixes: number;
  /** The longest time between two turns of a timer that comes each millisecond. */
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
