/** Whatever is said, and whenever, the list ends with what was said last. */
import t from 'tap';
import {
  type Feed,
  type FeedListener,
  type ListReader,
  type LiveContents,
  LiveList,
} from '../../gateway/lists/live-list.ts';

interface Said extends LiveContents {
  readonly text: string;
}

t.test('what is said while the end of a building goes round is built too', async (t) => {
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
    t.equal(list.contents?.text, 'second', `${depth} turns later`);
    list.close();
  }
});
