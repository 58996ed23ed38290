/** Checks of nodes that were begun together are not made together. */
import t from 'tap';
import { Deadlines } from '../../gateway/core/deadlines.ts';
import { Llhttp } from '../../gateway/http1/llhttp.ts';
import { HealthCheck } from '../../gateway/relay/health-check.ts';

const NODES = 200;
const INTERVAL_MS = 1000;

t.test(
  'the first check comes within a tenth of the interval, each other a tenth earlier or later',
  async (t) => {
    const waits: { readonly ms: number; readonly check: () => void }[] = [];
    t.capture(globalThis, 'setTimeout', (check: () => void, ms: number) => {
      waits.push({ ms, check });
      return { unref: () => undefined };
    });
    const node = { url: 'https://a.test', host: 'a.test', port: 443, weight: 1, secure: true };
    const health = {
      path: '/healthz',
      intervalMs: INTERVAL_MS,
      timeoutMs: 100,
      unhealthyAfter: 1,
      healthyAfter: 1,
      expect: [{ first: 200, last: 299 }],
    };
    const context = { llhttp: new Llhttp(), deadlines: new Deadlines(0) };
    // Without what secures a connection a check is over at once.
    const checked = { node, address: '127.0.0.1', secured: () => undefined };
    for (let made = 0; made < NODES; made += 1) new HealthCheck(checked, health, context, () => undefined);
    const first = waits.splice(0);
    for (const { check } of first) check();
    while (waits.length < NODES) await new Promise((resolve) => setImmediate(resolve));
    for (const [told, from, to] of [
      [first, 0, 0.1 * INTERVAL_MS],
      [waits, 0.9 * INTERVAL_MS, 1.1 * INTERVAL_MS],
    ] as const) {
      const times = told.map(({ ms }) => ms);
      const [least, most] = [Math.min(...times), Math.max(...times)];
      t.equal(times.length, NODES);
      t.ok(least >= from && most <= to, `${least} to ${most} ms`);
      t.ok(most - least > (to - from) / 2, 'spread over all of it');
    }
  },
);
