/** The link to a single data plane. */
import t from 'tap';
import { ControlLink, type ControlLinkOptions } from '../../gateway/handoff/control-link.ts';

const SETS = 600;

/** Stands in for parts that questions about keys never use. */
const UNUSED = {} as ControlLinkOptions['forms'];

t.test('every question about keys is answered, however many sets there are', async (t) => {
  const fetched = Promise.withResolvers<void>();
  const set = {
    settings: { refreshMs: 1, keepMs: 1 },
    news: { keys: undefined, fetchedMs: 0, fault: undefined },
    renew: () => fetched.promise,
    quietMs: () => 0,
  };
  const sets = new Map(Array.from({ length: SETS }, (_, at) => [`set-${at}`, set]));
  const answered = new Set<number>();
  const link: ControlLink = new ControlLink({
    channel: {
      send: (message) => {
        const { about } = message as { readonly about: { readonly kind: string; readonly question: number } };
        if (about.kind === 'renewed') answered.add(about.question);
        setImmediate(() => link.receive({ kind: 'taken' }));
      },
    },
    policy: () => t.fail('nobody looks at the policy') as never,
    forms: UNUSED,
    sources: { keys: { sets } } as unknown as ControlLinkOptions['sources'],
    ticketSecret: Buffer.alloc(32),
    find: () => undefined,
    onReleased: () => undefined,
    onClosed: () => undefined,
    onFault: (fault) => t.fail(fault),
  });
  let question = 0;
  for (const id of sets.keys()) {
    link.receive({ kind: 'renew', id, reason: 'unknown', question: question++ });
    link.receive({ kind: 'renew', id, reason: 'old', question: question++ });
  }
  fetched.resolve();
  for (let turns = 0; turns < 5000 && answered.size < question; turns += 1)
    await new Promise((resolve) => setImmediate(resolve));
  t.equal(answered.size, 2 * SETS);
});
