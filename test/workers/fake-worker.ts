/** A worker process that does what the test says. */
import type { Forked } from '../../gateway/workers/fork.ts';
import type { FromWorker, ToWorker } from '../../gateway/workers/messages.ts';

export interface FakeWorker {
  readonly forked: Forked;
  /** What it was told, except the handoff. */
  readonly heard: readonly ToWorker[];
  readonly kills: number;
  say(message: FromWorker): void;
  end(reason: string): void;
}

/** `onHeard` gets each message it is told, so as to answer. */
export function fakeWorker(
  onHeard: (message: ToWorker, worker: FakeWorker) => void = () => undefined,
): FakeWorker {
  const heard: ToWorker[] = [];
  const ends: ((reason: string) => void)[] = [];
  let hear: (message: FromWorker) => void = () => undefined;
  let kills = 0;
  const worker: FakeWorker = {
    heard,
    get kills() {
      return kills;
    },
    say: (message) => hear(message),
    end: (reason) => {
      for (const told of ends.splice(0)) told(reason);
    },
    forked: {
      pid: 1,
      channel: {
        send: (message) => {
          if (message.kind === 'handed') return;
          heard.push(message);
          setImmediate(() => onHeard(message, worker));
        },
        onMessage: (listener) => {
          hear = listener;
        },
      },
      onEnd: (told) => void ends.push(told),
      kill: () => {
        kills += 1;
        setImmediate(() => worker.end('killed by SIGKILL'));
      },
    },
  };
  return worker;
}

/** Accepts connections as soon as it is told to start, knows every node, and ends when told to. */
export const obedient = (message: ToWorker, worker: FakeWorker): void => {
  if (message.kind === 'start') worker.say({ kind: 'up', addresses: new Map() });
  if (message.kind === 'set-drained') worker.say({ kind: 'drained-set', id: message.id, known: true });
  if (message.kind === 'drain' || message.kind === 'stop')
    setImmediate(() => worker.end('exited with status 0'));
};
