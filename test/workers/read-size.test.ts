/** The gateway reads an upload in few system calls: their number is counted by the kernel. */
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import t from 'tap';
import { exchange, isWhole } from '../path/stage.ts';
import { setWorkers } from './workers-stage.ts';

const MEBIBYTES = 32;
const PIECE = Buffer.alloc(1024 * 1024, 'x');

/** Reads by the process so far (proc(5), `io`). */
async function readCalls(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/io`, 'utf8');
  return Number(/^syscr: (\d+)$/m.exec(text)?.[1]);
}

t.test('callers are read 16 KiB at a time, not as much as their ClientHello took', async (t) => {
  // Reads on as fast as it can, so that the gateway never waits for it.
  const node = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      if (chunk.subarray(-7).toString() === 'the end')
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    });
  });
  await new Promise<void>((resolve) => node.listen(0, '127.0.0.1', resolve));
  t.teardown(() => node.close());
  const stage = await setWorkers(t, { node: `127.0.0.1:${(node.address() as AddressInfo).port}` });
  const pids = (await stage.workers()).map(({ pid }) => pid);
  const calls = async (): Promise<number> =>
    (await Promise.all(pids.map(readCalls))).reduce((sum, each) => sum + each, 0);
  const socket = await stage.connect();
  const before = await calls();
  socket.write(
    `PUT /open/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: ${MEBIBYTES * PIECE.length + 7}\r\n\r\n`,
  );
  for (let left = MEBIBYTES; left > 0; left--) socket.write(PIECE);
  t.match(await exchange(socket, 'the end', isWhole), /^HTTP\/1\.1 200 /);
  const perMebibyte = ((await calls()) - before) / MEBIBYTES;
  t.ok(perMebibyte < 90, `${perMebibyte.toFixed(1)} reads per MiB`);
  socket.destroy();
});
