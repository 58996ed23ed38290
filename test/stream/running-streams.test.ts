/** A stream is decided again for every change since its decision began, and for none before. */
import t from 'tap';
import { type Examined, RunningStreams } from '../../gateway/stream/running-streams.ts';

class Stream implements Examined {
  slot = -1;
  examined = 0;
  readonly examineAtMs: number;

  constructor(examineAtMs = Number.POSITIVE_INFINITY) {
    this.examineAtMs = examineAtMs;
  }

  examine(): void {
    this.examined += 1;
  }
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

t.test('a stream is decided again for changes made while it was being decided', async (t) => {
  const streams = new RunningStreams();
  t.teardown(() => streams.close());
  const before = streams.changes;
  streams.examineSoon();
  await wait(100);
  const late = new Stream();
  streams.add(late, before);
  const fresh = new Stream();
  streams.add(fresh, streams.changes);
  const gone = new Stream();
  streams.add(gone, before);
  streams.delete(gone);
  await wait(50);
  t.same([late.examined, fresh.examined, gone.examined], [1, 0, 0]);
});

t.test('simultaneous changes count as one, and every stream is decided again', async (t) => {
  const streams = new RunningStreams();
  t.teardown(() => streams.close());
  const all = Array.from({ length: 450 }, () => new Stream());
  for (const stream of all) streams.add(stream, streams.changes);
  for (let change = 0; change < 5; change++) streams.examineSoon();
  await wait(200);
  t.same(new Set(all.map(({ examined }) => examined)), new Set([1]));
});

t.test('a stream whose time has come is decided again, and others are not', async (t) => {
  const streams = new RunningStreams();
  t.teardown(() => streams.close());
  const [due, later] = [new Stream(Date.now()), new Stream(Date.now() + 60_000)];
  streams.add(due, streams.changes);
  streams.add(later, streams.changes);
  await wait(400);
  t.ok(due.examined > 0);
  t.equal(later.examined, 0);
});
