/** What each process reports about itself: the delay of its event loop and the resources it uses. */
import t from 'tap';
import { rawNode } from '../path/stage.ts';
import { allAccept, eventually, setWorkers } from './workers-stage.ts';

t.test('a worker that stood still reports for how long', async (t) => {
  const node = await rawNode(t, () => undefined);
  const stage = await setWorkers(t, { node: node.address });
  await allAccept(stage);
  const [first] = await stage.workers();
  const delayOf = (worker: number): Promise<number> =>
    stage.metric(`patchgate_event_loop_delay_max_seconds{worker="${worker}"}`);
  process.kill(first?.pid ?? 0, 'SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, 2000));
  process.kill(first?.pid ?? 0, 'SIGCONT');
  await eventually(async () => (await delayOf(first?.worker ?? 0)) > 1.5);
  for (const worker of [0, 1, 2]) t.ok((await delayOf(worker)) >= 0, `worker ${worker} reports its delay`);
});

t.test('each process reports the resources it uses', async (t) => {
  const node = await rawNode(t, () => undefined);
  const stage = await setWorkers(t, { node: node.address });
  await allAccept(stage);
  for (const worker of [0, 1, 2])
    for (const name of ['cpu_seconds_total', 'resident_memory_bytes', 'open_fds', 'max_fds']) {
      const series = `patchgate_process_${name}{worker="${worker}"}`;
      await eventually(async () => (await stage.metric(series)) > 0);
      t.pass(`${series} is reported`);
    }
});
