/** What waits for a primary that stands still is refused in time, as the gateway's doing. */
import { join } from 'node:path';
import t from 'tap';
import { exchange, HOST, isWhole, rawNode, readLog, sleep } from '../path/stage.ts';
import { setWorkers } from './workers-stage.ts';

const ROUTES = `  - name: budget
    match: { methods: [PUT], path: '/budget/x' }
    require: none
    limits: { bytes: 64MiB/d, per: address }
    upstream: sync
  - name: publish
    match: { methods: [POST], path: '/v1/models/{model_id}/versions/{version}' }
    require: { scope: publish }
    upstream: sync
`;
const PIECE_BYTES = 400_000;
const chunk = (bytes: number): string => `${bytes.toString(16)}\r\n${'x'.repeat(bytes)}\r\n`;

t.test('a stream that needs more bytes, and a request that has to be recorded, are refused', async (t) => {
  const node = await rawNode(t, () => undefined);
  // A stream may be idle for less time than the primary is waited for.
  const gateway = '  workers: 2\n  audit: { file: ../audit.jsonl }\n  timeouts: { streamIdle: 2s }';
  const stage = await setWorkers(t, { node: node.address, gateway, routes: ROUTES });
  const token = await stage.tokens.sign({
    iss: 'https://auth.test',
    aud: 'weights',
    sub: 'worker-1',
    scope: 'publish',
    model_id: 'vision',
  });
  const [streaming, publishing] = [await stage.connect(), await stage.connect()];
  streaming.write(`PUT /budget/x HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\n\r\n${chunk(8)}`);
  while (!node.received.some((text) => text.includes('xxxxxxxx'))) await sleep(10);
  stage.running.child.kill('SIGSTOP');
  const [streamed, published] = await Promise.all([
    exchange(streaming, chunk(PIECE_BYTES), isWhole),
    exchange(
      publishing,
      `POST /v1/models/vision/versions/7 HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${token}\r\nContent-Length: 0\r\n\r\n`,
      isWhole,
    ),
  ]);
  stage.running.child.kill('SIGCONT');
  t.match(streamed, /^HTTP\/1\.1 503 .*"code":"overloaded"/s);
  t.match(published, /^HTTP\/1\.1 503 .*"code":"audit-unavailable"/s);
  const lines = await readLog(join(stage.folder, 'access.log'), 2);
  t.match(
    lines.find(({ route }) => route === 'budget'),
    { 'denial.code': 'overloaded', cause: /the primary does not answer/, ended_by: 'gateway' },
  );
  streaming.destroy();
  publishing.destroy();
});
