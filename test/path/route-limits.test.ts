/** Limits of routes: refusals say when to come again, and each place is given back exactly once. */

import type { TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { until } from '../lists/servers.ts';
import { exchange, HOST, isWhole, rawNode, type Stage, setStage, sleep } from './stage.ts';

const route = (limits: string, more = ''): string => `  - name: limited
    match: { methods: [GET, PUT], path: '/limited/{model_id}' }
    require: { scope: read }
    limits: ${limits}
${more}    upstream: sync
`;
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** A node that answers each request with `answer` as soon as it has a head. */
async function stageOf(t: Test, limits: string, answer: () => string = () => OK, more = ''): Promise<Stage> {
  const node = await rawNode(t, (socket, text) => {
    if (text.endsWith('\r\n\r\n')) socket.write(answer());
  });
  return setStage(t, {
    nodes: [node.address],
    routes: route(limits, more),
    gateway: '  timeouts: { linger: 100ms }',
  });
}

/** A token for no particular model. */
const tokenOf = (stage: Stage, sub = 'worker-1'): Promise<string> =>
  stage.token({ sub, model_id: undefined });

const get = (token: string, model = 'vision'): string =>
  `GET /limited/${model} HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${token}\r\n\r\n`;
const put = (token: string, length: number): string =>
  `PUT /limited/vision HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${token}\r\nContent-Length: ${length}\r\n\r\n`;

async function ask(stage: Stage, request: string): Promise<string> {
  const socket = await stage.connect();
  const answer = await exchange(socket, request, isAnswered);
  socket.destroy();
  return answer;
}

const isAnswered = (text: string): boolean => text.includes('\r\n\r\n') && isWhole(text);

t.test('requests per time are counted for each subject', async (t) => {
  const stage = await stageOf(t, '{ requests: 3/h }');
  const token = await tokenOf(stage, 'a');
  for (let turn = 0; turn < 3; turn++) t.match(await ask(stage, get(token)), /^HTTP\/1\.1 200 /);
  const refused = await ask(stage, get(token));
  t.match(refused, /^HTTP\/1\.1 429 .*"code":"rate-limited"/s);
  t.match(refused, /\r\nRetry-After: (?:1199|1200)\r\n/);
  t.match(
    await ask(stage, get(await tokenOf(stage, 'b'))),
    /^HTTP\/1\.1 200 /,
    'another subject has its own limit',
  );
  const lines = await stage.log(5);
  t.match(lines[3], {
    'denial.code': 'rate-limited',
    'denial.rule': 'limits.requests',
    'decision.step': 'limits',
  });
  const metrics = await (await fetch(`${stage.admin}/metrics`)).text();
  t.match(metrics, 'patchgate_limit_decisions_total{limit="requests",outcome="admitted",backend="local"} 4');
  t.match(metrics, 'patchgate_limit_decisions_total{limit="requests",outcome="refused",backend="local"} 1');
  t.match(metrics, 'patchgate_decisions_total{step="limits",outcome="denied",code="rate-limited"} 1');
});

t.test('limits may be shared by address, by model or by all', async (t) => {
  for (const per of ['address', 'tenant', 'model']) {
    const stage = await stageOf(t, `{ requests: 1/h, per: ${per} }`);
    t.match(await ask(stage, get(await tokenOf(stage, 'a'))), /^HTTP\/1\.1 200 /);
    const answer = await ask(stage, get(await tokenOf(stage, 'b')));
    t.match(answer, /^HTTP\/1\.1 429 /, `a limit per ${per} counts another subject too`);
    const elsewhere = await ask(stage, get(await tokenOf(stage), 'audio'));
    t.equal(
      Number(elsewhere.slice(9, 12)),
      per === 'model' ? 200 : 429,
      `a limit per ${per} treats another model as it should`,
    );
  }
});

t.test('a clock that is set back keeps nobody waiting', async (t) => {
  const stage = await stageOf(t, '{ requests: 2/s }');
  const token = await tokenOf(stage);
  for (let turn = 0; turn < 2; turn++) t.match(await ask(stage, get(token)), /^HTTP\/1\.1 200 /);
  const { now } = Date;
  t.teardown(() => {
    Date.now = now;
  });
  Date.now = () => now() - 10_000;
  await sleep(1000);
  t.match(await ask(stage, get(token)), /^HTTP\/1\.1 200 /);
});

t.test('a reload keeps what was counted', async (t) => {
  const stage = await stageOf(t, '{ requests: 1/h }');
  t.match(await ask(stage, get(await tokenOf(stage))), /^HTTP\/1\.1 200 /);
  await stage.gateway.reload();
  t.match(await ask(stage, get(await tokenOf(stage))), /^HTTP\/1\.1 429 /);
});

t.test('a byte budget refuses what it cannot hold, and ends what has used it up', async (t) => {
  const stage = await stageOf(t, '{ bytes: 1MiB/d }', () => '');
  const token = await tokenOf(stage);
  const refused = await ask(stage, put(token, 2 * MIB));
  t.match(refused, /^HTTP\/1\.1 413 .*"code":"body-too-large"/s, 'waiting would not help');
  const socket = await stage.connect();
  const head = put(token, 0).replace('Content-Length: 0', 'Transfer-Encoding: chunked');
  const answer = exchange(socket, head);
  const piece = Buffer.alloc(256 * 1024);
  for (let sent = 0; sent < 6; sent++) {
    socket.write(`${piece.length.toString(16)}\r\n`);
    socket.write(piece);
    socket.write('\r\n');
  }
  const ended = await answer;
  t.match(ended, /^HTTP\/1\.1 429 .*"code":"bytes-exhausted"/s);
  t.match(ended, /\r\nRetry-After: [1-9]\d{2,4}\r\n/, 'the excess comes back over the day and not at once');
  t.match(
    await ask(stage, get(token)),
    /^HTTP\/1\.1 429 .*"code":"bytes-exhausted"/s,
    'nothing is left for others',
  );
});

t.test('an upload that uses up the budget gets its answer, and later requests are refused', async (t) => {
  // The budget is so small that none of it comes back within twenty seconds.
  const stage = await stageOf(t, '{ bytes: 4KiB/d }', () => OK);
  const token = await tokenOf(stage);
  const answer = await ask(stage, `${put(token, 4096)}${'x'.repeat(4096 - 4)}\r\n\r\n`);
  t.match(answer, /^HTTP\/1\.1 200 .*ok$/s);
  t.match(await ask(stage, get(token)), /^HTTP\/1\.1 429 /);
});

t.test('a fast stream ends with the read that exceeds its budget, not a second later', async (t) => {
  let got = 0;
  const node = await rawNode(t, (_socket, text) => {
    got = text.length;
  });
  const stage = await setStage(t, { nodes: [node.address], routes: route('{ bytes: 1MiB/d }') });
  const socket = await stage.connect();
  const head = put(await tokenOf(stage), 0).replace('Content-Length: 0', 'Transfer-Encoding: chunked');
  const piece = Buffer.alloc(64 * 1024);
  const body = Array.from({ length: 128 }, () => [Buffer.from('10000\r\n'), piece, Buffer.from('\r\n')]);
  const ended = await exchange(socket, Buffer.concat([Buffer.from(head), ...body.flat()]));
  t.match(ended, /^HTTP\/1\.1 429 .*"code":"bytes-exhausted"/s);
  t.ok(got < 1.3 * MIB, `the node got ${got} bytes of 8 MiB`);
});

/** Ways in which a request may end; each frees its place for the next one. */
const endings: Readonly<Record<string, (stage: Stage, socket: TLSSocket, token: string) => Promise<void>>> = {
  'an answer': async (_stage, socket, token) => void (await exchange(socket, get(token), isAnswered)),
  'a refusal by the decision': async (_stage, socket, token) =>
    void (await exchange(socket, get(`${token}x`), isAnswered)),
  'a caller that leaves before the answer': async (_stage, socket, token) => {
    socket.write(get(token, 'silent'));
    await sleep(50);
    socket.destroy();
  },
  'a caller that leaves at once': async (_stage, socket, token) => {
    socket.write(get(token));
    socket.destroy();
  },
  'a caller that leaves amid its body': async (_stage, socket, token) => {
    socket.write(`${put(token, 100)}half`);
    await sleep(50);
    socket.destroy();
  },
  'a body that breaks its framing': async (_stage, socket, token) => {
    const head = put(token, 0).replace('Content-Length: 0', 'Transfer-Encoding: chunked');
    await exchange(socket, `${head}zz`, isAnswered);
  },
  'a node that breaks off': async (_stage, socket, token) =>
    void (await exchange(socket, get(token, 'broken'), isAnswered)),
  'a node that breaks off amid its answer': async (_stage, socket, token) =>
    void (await exchange(socket, get(token, 'half'))),
  'a caller that leaves amid its answer': async (_stage, socket, token) => {
    await exchange(socket, get(token, 'slow'), (text) => text.includes('begun'));
    socket.destroy();
  },
};

t.test('however a request ends, its place is freed once and only once', async (t) => {
  const node = await rawNode(t, (socket, text) => {
    const last = text.slice(text.lastIndexOf(' /limited/') - 3);
    if (last.startsWith('GET /limited/vision') && last.endsWith('\r\n\r\n')) socket.write(OK);
    else if (last.includes('/broken')) socket.resetAndDestroy();
    else if (last.includes('/half') || last.includes('/slow')) {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun');
      if (last.includes('/half')) setTimeout(() => socket.resetAndDestroy(), 20);
    }
  });
  const stage = await setStage(t, {
    nodes: [node.address],
    routes: route('{ concurrent: 2 }'),
    gateway: '  timeouts: { linger: 100ms }',
  });
  const token = await tokenOf(stage);
  for (const [title, end] of Object.entries(endings)) {
    const socket = await stage.connect();
    socket.on('error', () => undefined);
    await end(stage, socket, token);
    socket.destroy();
    t.same(await freePlaces(stage, token), 2, `both places are free after ${title}`);
  }
});

/** How many endless requests are admitted at once. */
async function freePlaces(stage: Stage, token: string): Promise<number> {
  let found = 0;
  await until(async () => {
    const sockets = await Promise.all([1, 2, 3].map(() => stage.connect()));
    const answers = await Promise.all(
      sockets.map(async (socket) => {
        const answer = exchange(socket, get(token, 'silent'), isAnswered);
        return Promise.race([answer, sleep(150)]);
      }),
    );
    found = answers.filter((answer) => answer === undefined).length;
    for (const socket of sockets) socket.destroy();
    await sleep(50);
    return found === 2;
  });
  return found;
}

t.test('a request too many at once is refused and told when to come again', async (t) => {
  const stage = await stageOf(t, '{ concurrent: 1 }', () => '');
  const token = await tokenOf(stage);
  const first = await stage.connect();
  first.write(get(token));
  await sleep(100);
  const refused = await ask(stage, get(token));
  t.match(refused, /^HTTP\/1\.1 429 .*\r\nRetry-After: 1\r\n.*"code":"concurrency-limited"/s);
  t.match(
    await ask(stage, get(await stage.token({ scope: 'finetune:other' }))),
    /^HTTP\/1\.1 403 /,
    'cheap checks come first',
  );
  first.destroy();
});
