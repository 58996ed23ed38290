/** The pace at which workers are replaced. */
import t from 'tap';
import { RestartPace } from '../../gateway/workers/restart-pace.ts';

t.test('the first early deaths are replaced at once, later ones after growing pauses', async (t) => {
  const pace = new RestartPace();
  const pauses: number[] = [];
  let nowMs = 0;
  for (let deaths = 0; deaths < 14; deaths += 1) {
    const pauseMs = pace.pauseMs(500, nowMs);
    pauses.push(pauseMs);
    nowMs += 500 + pauseMs;
  }
  t.same(pauses, [0, 0, 0, 0, 0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
});

t.test('a worker that ran for a while, or that dies after a calm time, is replaced at once', async (t) => {
  const pace = new RestartPace();
  const dieYoung = (times: number, nowMs: number): number => {
    let pauseMs = 0;
    for (let deaths = 0; deaths < times; deaths += 1) pauseMs = pace.pauseMs(500, nowMs);
    return pauseMs;
  };
  t.equal(dieYoung(10, 0), 800);
  t.equal(pace.pauseMs(60_000, 100), 0);
  t.equal(dieYoung(5, 200), 0);
  t.equal(dieYoung(1, 300), 50);
  t.equal(dieYoung(1, 20_000), 0);
});
