/** What answers on limited routes say: what is allowed, what is left, and for whom. */
import t, { type Test } from 'tap';
import { until } from '../lists/servers.ts';
import { exchange, HOST, isWhole, rawNode, type Stage, setStage } from './stage.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const isAnswered = (text: string): boolean => text.includes('\r\n\r\n') && isWhole(text);

/** Nodes answer with `answer`; without one there is no node. */
async function stageOf(t: Test, limits: string, answer?: string, more = ''): Promise<Stage> {
  const node = await rawNode(t, (socket, text) => {
    if (text.endsWith('\r\n\r\n') && answer !== undefined) socket.write(answer);
  });
  return setStage(t, {
    nodes: [answer === undefined ? '127.0.0.1:1' : node.address],
    routes: `  - name: limited
    match: { methods: [${more === '' ? 'GET, HEAD, PUT' : 'GET'}], path: '/limited/{model_id}' }
    require: { scope: read }
${limits}${more}    upstream: sync
`,
  });
}

/** The head of the answer to one request on its own connection. */
async function ask(stage: Stage, more = '', target = '/limited/vision', method = 'GET'): Promise<string> {
  const token = await stage.token({ model_id: undefined });
  const socket = await stage.connect();
  const request = `${method} ${target} HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${token}\r\n${more}\r\n`;
  const answer = await exchange(socket, request, isAnswered);
  socket.destroy();
  return answer.split('\r\n\r\n')[0] ?? '';
}

function linesOf(head: string, name: string): readonly string[] {
  const lines = head.split('\r\n').filter((line) => line.toLowerCase().startsWith(`${name}: `));
  return lines.map((line) => line.slice(name.length + 2));
}

t.test('an answer names every limit and what is left of each', async (t) => {
  const stage = await stageOf(t, '    limits: { requests: 60/m, concurrent: 4, bytes: 20GiB/d }\n', OK);
  const head = await ask(stage);
  t.same(linesOf(head, 'ratelimit-policy'), [
    '"limited.requests";q=60;w=60, "limited.concurrent";q=4;qu="concurrent-requests", "limited.bytes";q=21474836480;w=86400;qu="content-bytes"',
  ]);
  t.same(linesOf(head, 'ratelimit'), [
    '"limited.requests";r=59;t=59, "limited.concurrent";r=3, "limited.bytes";r=21474836480;t=86400',
  ]);
  t.match(
    linesOf(await ask(stage), 'ratelimit')[0],
    /^"limited\.requests";r=58;t=58, "limited\.concurrent";r=3, /,
  );
});

t.test('a route without limits sends no quota fields', async (t) => {
  const stage = await stageOf(t, '', OK);
  t.notMatch(await ask(stage), /ratelimit/i);
});

t.test('a refusal names the exhausted limit and waits no longer than Retry-After', async (t) => {
  const stage = await stageOf(t, '    limits: { requests: 1/h, concurrent: 4 }\n', OK);
  await ask(stage);
  const head = await ask(stage);
  t.match(head, /^HTTP\/1\.1 429 /);
  const [waitS] = linesOf(head, 'retry-after');
  t.match(waitS, /^3(?:600|599)$/);
  t.same(linesOf(head, 'ratelimit'), [`"limited.requests";r=0;t=${waitS}`]);
  t.equal(linesOf(head, 'ratelimit-policy').length, 1);
});

t.test('a refusal of bytes says how many are left', async (t) => {
  const stage = await stageOf(t, '    limits: { bytes: 1MiB/d }\n', OK);
  await ask(stage, 'Content-Length: 1048570\r\n', '/limited/vision', 'PUT');
  await until(async () => (await stage.log(1)).length > 0);
  const head = await ask(stage, 'Content-Length: 1048576\r\n', '/limited/vision', 'PUT');
  t.match(head, /^HTTP\/1\.1 429 /);
  t.match(linesOf(head, 'ratelimit')[0], /^"limited\.bytes";r=\d+;t=[1-9]\d*$/);
});

t.test('the quota fields of a node stay, with those of the gateway beside them', async (t) => {
  const own = 'RateLimit-Policy: "node";q=5;w=1\r\nRateLimit: "node";r=4;t=1\r\n';
  const stage = await stageOf(t, '    limits: { requests: 60/m }\n', OK.replace('\r\n', `\r\n${own}`));
  const head = await ask(stage);
  t.same(linesOf(head, 'ratelimit-policy'), ['"node";q=5;w=1', '"limited.requests";q=60;w=60']);
  t.same(linesOf(head, 'ratelimit'), ['"node";r=4;t=1', '"limited.requests";r=59;t=59']);
});

t.test('the quota fields of a limit per model name the model', async (t) => {
  const stage = await stageOf(t, '    limits: { requests: 1/h, concurrent: 4, per: model }\n', OK);
  const key = `pk=:${Buffer.from('vision').toString('base64')}:`;
  t.same(linesOf(await ask(stage), 'ratelimit'), [
    `"limited.requests";r=0;t=1;${key}, "limited.concurrent";r=3;${key}`,
  ]);
  t.match(linesOf(await ask(stage), 'ratelimit')[0], new RegExp(`^"limited\\.requests";r=0;t=\\d+;${key}$`));
  t.match(linesOf(await ask(stage, '', '/limited/audio'), 'ratelimit')[0], ';pk=:YXVkaW8=:');
});

t.test('answers of the gateway itself have quota fields once the request was admitted', async (t) => {
  const stage = await stageOf(t, '    limits: { requests: 60/m }\n');
  const head = await ask(stage);
  t.match(head, /^HTTP\/1\.1 50[23] /);
  t.same(linesOf(head, 'ratelimit'), ['"limited.requests";r=59;t=59']);
  t.notMatch(
    await ask(stage, 'X-Forwarded-For: x_y\r\nHost: x\r\n'),
    /ratelimit/i,
    'there are none before that',
  );
});

t.test('the answer that opens a tunnel has quota fields', async (t) => {
  const handshake =
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
  const accepted =
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n';
  const stage = await stageOf(t, '    limits: { concurrent: 2 }\n', accepted, '    upgrade: websocket\n');
  const token = await stage.token({ model_id: undefined });
  const socket = await stage.connect();
  const request = `GET /limited/vision HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${token}\r\n${handshake}\r\n`;
  const head = await exchange(socket, request, (text) => text.includes('\r\n\r\n'));
  t.match(head, /^HTTP\/1\.1 101 /);
  t.same(linesOf(head, 'ratelimit'), ['"limited.concurrent";r=1']);
  socket.destroy();
});
