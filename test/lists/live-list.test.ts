/** A list ends up with what its source said last, and entries expire at their time. */
import t from 'tap';
import { formatFault } from '../../gateway/core/fault.ts';
import {
  type Feed,
  type FeedListener,
  type ListReader,
  type LiveContents,
  LiveList,
} from '../../gateway/lists/live-list.ts';
import { tidyHeap } from '../../gateway/tidy-heap.ts';
import { follow } from './following.ts';
import { until } from './servers.ts';

interface Said extends LiveContents {
  readonly text: string;
}

t.test('a snapshot that arrives while the end of a build is announced is built too', async (t) => {
  for (let depth = 1; depth < 20; depth++) {
    let listener: FeedListener | undefined;
    const feed: Feed = {
      place: 'x',
      start: async (given) => {
        listener = given;
      },
      stop: () => undefined,
    };
    const later = (turns: number): void => {
      if (turns === 0) listener?.onSnapshot({ kind: 'text', text: 'second' });
      else queueMicrotask(() => later(turns - 1));
    };
    const reader: ListReader<Said> = {
      *text(_, text) {
        if (text === 'first') later(depth);
        yield;
        return { text };
      },
      *keyed() {
        yield;
        return { text: '' };
      },
    };
    const list = new LiveList(feed, { reader });
    listener?.onSnapshot({ kind: 'text', text: 'first' });
    await new Promise((resolve) => setImmediate(resolve));
    await list.settled();
    t.equal(
      list.contents?.text,
      'second',
      `the second snapshot is built when it arrives ${depth} turns later`,
    );
    list.close();
  }
});

/** A feed that says what it is told to. */
class SaidFeed implements Feed {
  readonly place = 'said';
  #listener: FeedListener | undefined;

  async start(listener: FeedListener): Promise<void> {
    this.#listener = listener;
  }

  stop(): void {}

  say(text: string): void {
    this.#listener?.onSnapshot({ kind: 'text', text });
  }

  sayKeyed(entries: ReadonlyMap<string, string>): void {
    this.#listener?.onSnapshot({ kind: 'keyed', entries });
  }

  fail(problem: string): void {
    this.#listener?.onFault(problem);
  }
}

for (const text of ['203.0.113.7/32\n', 'rubbish\n']) {
  t.test(`a source lost while a list is built of ${JSON.stringify(text)} stays reported`, async (t) => {
    const feed = new SaidFeed();
    const { list, faults } = follow(t, feed);
    feed.say(text);
    feed.fail('cannot be read: ENOENT');
    await list.settled();
    t.equal(faults().at(-1), 'said:1:1: cannot be read: ENOENT');
    t.notOk(list.isCurrent);
    feed.say('198.51.100.7/32\n');
    await list.settled();
    t.same(faults(), [], 'the fault is gone once the source is back');
    t.ok(list.isCurrent);
  });
}

t.test('an exception of a reader is a fault, and the last good list stays', async (t) => {
  const feed = new SaidFeed();
  const read = function* (_: string, said: unknown): Generator<undefined, Said> {
    yield;
    if (said === 'bad') throw new RangeError('too much');
    return { text: String(said) };
  };
  const list = new LiveList(feed, { reader: { text: read, keyed: read } });
  for (const text of ['good', 'bad']) {
    feed.say(text);
    await list.settled();
  }
  t.equal(list.contents?.text, 'good');
  t.same(list.faults.map(formatFault), ['said:1:1: cannot be read: too much']);
  feed.say('better');
  await list.settled();
  t.ok(list.isCurrent);
  list.close();
});

/** Ways in which nothing good is heard of a source while an entry expires. */
const silences: ReadonlyMap<string, (feed: SaidFeed) => void> = new Map([
  ['has rubbish', (feed) => feed.say('rubbish')],
  ['cannot be read', (feed) => feed.fail('cannot be read: ECONNREFUSED')],
]);

for (const [what, silence] of silences) {
  t.test(`an entry expires in time while its source ${what}, which stays reported`, async (t) => {
    const feed = new SaidFeed();
    const { list, has, faults, changes } = follow(t, feed);
    const ends = new Date(Date.now() + 400).toISOString();
    feed.say(`203.0.113.7/32 until=${ends}\n198.51.100.7/32\n`);
    await list.settled();
    silence(feed);
    await list.settled();
    t.ok(has('203.0.113.7') && faults().length === 1, 'the last good list holds, and the fault is reported');
    const before = changes();
    while (has('203.0.113.7')) await new Promise((resolve) => setTimeout(resolve, 20));
    t.ok(has('198.51.100.7'), 'the other entry stays');
    t.equal(faults().length, 1, 'the fault of the source stays');
    t.notOk(list.isCurrent);
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.equal(changes(), before + 1, 'the list is rebuilt once and not again and again');
  });
}

t.test(
  'an entry of the list in force that ends amid the building of a newer one does not bring the old back',
  async (t) => {
    const feed = new SaidFeed();
    const endsMs = Date.now() + 100;
    const read = function* (_: string, said: unknown): Generator<undefined, Said> {
      while (said === 'new' && Date.now() < endsMs + 50) yield;
      return { text: String(said), ...(said === 'old' && { nextEndMs: endsMs }) };
    };
    const list = new LiveList(feed, { reader: { text: read, keyed: read } });
    t.teardown(() => list.close());
    feed.say('old');
    await list.settled();
    feed.say('new');
    await list.settled();
    t.equal(list.contents?.text, 'new');
  },
);

t.test('an entry that ends amid a building that comes to nothing still ends', async (t) => {
  const feed = new SaidFeed();
  const endsMs = Date.now() + 100;
  const read = function* (_: string, said: unknown): Generator<undefined, Said> {
    while (said === 'bad' && Date.now() < endsMs + 50) yield;
    if (said === 'bad') throw new RangeError('too much');
    return Date.now() < endsMs ? { text: 'old', nextEndMs: endsMs } : { text: 'old without it' };
  };
  const list = new LiveList(feed, { reader: { text: read, keyed: read } });
  t.teardown(() => list.close());
  feed.say('old');
  await list.settled();
  feed.say('bad');
  await list.settled();
  t.ok(await until(() => list.contents?.text === 'old without it'));
  t.notOk(list.isCurrent, 'and what is wrong stays told');
});

t.test('a list that loses all its entries causes a warning, but not one whose entries expired', async (t) => {
  const feed = new SaidFeed();
  const { list, size, warnings } = follow(t, feed);
  const ends = new Date(Date.now() + 100).toISOString();
  const texts = ['', '203.0.113.7/32\n198.51.100.7/32', '', '', `203.0.113.7/32 until=${ends}`];
  for (const text of texts) {
    feed.say(text);
    await list.settled();
  }
  t.ok(await until(() => size() === 0));
  t.same(warnings, ['is empty now, had entries before: 2']);
});

t.test('the source of a list is kept only if an entry of it expires', async (t) => {
  for (const ends of [false, true]) {
    const feed = new SaidFeed();
    const contents = { text: '', ...(ends && { nextEndMs: Date.now() + 60_000 }) };
    const read = function* (): Generator<undefined, Said> {
      yield;
      return contents;
    };
    const list = new LiveList(feed, { reader: { text: read, keyed: read } });
    const said = (): WeakRef<object> => {
      const entries = new Map([['a', '1']]);
      feed.sayKeyed(entries);
      return new WeakRef(entries);
    };
    const entries = said();
    await list.settled();
    await new Promise((resolve) => setImmediate(resolve));
    tidyHeap();
    t.equal(entries.deref() !== undefined, ends);
    list.close();
  }
});
