/** A stream read in place costs no buffer per record; read otherwise, the same measure sees one per record. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { HOST, readPaths, type Stage, setStage } from './stage.ts';

const STREAM_BYTES = 128 * MIB;
const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** Starts the node in its own process. */
async function sinkNode(t: Test): Promise<string> {
  const sink = spawn(process.execPath, [script('../bench/sink.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => sink.kill('SIGKILL'));
  const [line] = (await once(sink.stdout, 'data')) as [Buffer];
  return `127.0.0.1:${line.toString().trim()}`;
}

/** Returns the body bytes that arrived at the other end. */
async function move(stage: Stage, direction: 'up' | 'down', bytes: number): Promise<number> {
  const { port, ca, worker } = stage;
  const orders = { port, serverName: HOST, ca, direction, bytes };
  const pair = { cert: worker.certificatePem, key: worker.privateKeyPem };
  const caller = spawn(
    process.execPath,
    [script('stream-caller.ts'), JSON.stringify({ ...orders, ...pair })],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  return Number(await text(caller.stdout));
}

/**
 * Bytes of array buffers allocated from here until the answer is called: the sum of all growth between one look and the
 * next. What a collection takes away between two looks hides as much growth, so this is a lower bound.
 */
function countAllocated(): () => number {
  let allocated = 0;
  let last = process.memoryUsage().arrayBuffers;
  const look = (): void => {
    const now = process.memoryUsage().arrayBuffers;
    if (now > last) allocated += now - last;
    last = now;
  };
  const timer = setInterval(look, 1);
  return () => {
    look();
    clearInterval(timer);
    return allocated;
  };
}

const ROUTES = `  - name: any
    match: { methods: [GET, PUT], path: '/**' }
    require: none
    upstream: sync
`;

for (const { how, readsInPlace } of readPaths) {
  t.test(`a stream of 128 MiB allocates a buffer per record only by events (${how})`, async (t) => {
    const stage = await setStage(t, { readsInPlace, nodes: [await sinkNode(t)], routes: ROUTES });
    for (const direction of ['up', 'down'] as const) {
      await move(stage, direction, 8 * MIB);
      const stop = countAllocated();
      t.equal(await move(stage, direction, STREAM_BYTES), STREAM_BYTES, `every byte arrived (${direction})`);
      const share = stop() / STREAM_BYTES;
      if (direction === 'up' && !readsInPlace)
        t.ok(share > 0.25, `the measure sees a buffer per record: ${share}`);
      else t.ok(share < 0.06, `${direction} allocates no buffer per record: ${share} of the payload`);
    }
  });
}
