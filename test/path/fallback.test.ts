/** A route whose upstream can take nothing falls back on another upstream or on an answer of the gateway. */
import t from 'tap';
import { exchange, HOST, isWhole, rawNode, setStage } from './stage.ts';
import { askAlone, askTimes, namedNode, whoAnswered } from './upstream-stage.ts';

/** An address where nothing listens. */
const NOBODY = '127.0.0.1:1';
const routes = (fallback: string): string => `  - name: open
    match: { methods: [GET, HEAD, PUT], path: '/open/**' }
    require: none
    upstream: sync
    fallback: ${fallback}
`;

t.test('another upstream takes what no node of the first can take', async (t) => {
  const b = await namedNode(t, 'b');
  const stage = await setStage(t, {
    nodes: [NOBODY],
    upstream: `  other: { nodes: ['http://${b.address}'] }\n`,
    routes: routes('other'),
  });
  t.same(await askTimes(stage, 3), ['b', 'b', 'b']);
  const socket = await stage.connect();
  const put = `PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 4\r\n\r\n\r\n\r\n`;
  t.equal(
    whoAnswered(await exchange(socket, put, isWhole)),
    'b',
    'the body goes along, since nothing was sent before',
  );
  socket.destroy();
  t.equal((await stage.log(4)).at(-1)?.['upstream.node'], `http://${b.address}`);
});

t.test('if the other upstream can take nothing either, its refusal is the answer', async (t) => {
  const stage = await setStage(t, {
    nodes: [NOBODY],
    upstream: `  other: { nodes: ['http://127.0.0.1:2'] }\n`,
    routes: routes('other'),
  });
  t.same(await askTimes(stage, 2), ['503 node-unavailable', '503 node-unavailable']);
});

t.test('a fallback answer is sent as written, and the log says why', async (t) => {
  const stage = await setStage(t, {
    nodes: [NOBODY],
    routes: routes(`{ status: 200, body: '{"resting":true}', contentType: application/json }`),
  });
  const answer = await askAlone(stage);
  t.match(answer, /^HTTP\/1\.1 200 OK\r\nContent-Type: application\/json\r\n/);
  t.match(answer, /Content-Length: 16\r\n/);
  t.ok(answer.endsWith('\r\n\r\n{"resting":true}'));
  const socket = await stage.connect();
  const asked = `HEAD /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
  const head = await exchange(socket, asked, (text) => text.endsWith('\r\n\r\n'));
  socket.destroy();
  t.match(head, /Content-Length: 16\r\n/, 'a HEAD gets no body');
  t.match(await stage.log(2), [
    {
      'http.response.status_code': 200,
      'denial.code': 'node-unavailable',
      ended_by: 'gateway',
      bytes_out: 16,
    },
    { bytes_out: 0 },
  ]);
});

t.test('an open breaker falls back as well', async (t) => {
  const a = await namedNode(t, 'a');
  a.answer = (socket) => {
    socket.resetAndDestroy();
    return undefined;
  };
  const stage = await setStage(t, {
    nodes: [a.address],
    upstream: '    breaker: { minimumRequests: 2 }\n',
    routes: routes('{ status: 503, body: resting }'),
  });
  t.same(
    await askTimes(stage, 2),
    ['502 node-failed', '502 node-failed'],
    'nothing falls back once bytes were sent',
  );
  t.match(await askAlone(stage), /\r\n\r\nresting$/);
  t.equal(a.requests(), 2);
});

t.test('time to the first byte counts from the fallback upstream', async (t) => {
  const silent = await rawNode(t, () => undefined);
  const stage = await setStage(t, {
    nodes: [NOBODY],
    upstream: `  other: { nodes: ['http://${silent.address}'], timeouts: { firstByte: 100ms } }\n`,
    routes: routes('other'),
  });
  t.same(await askTimes(stage, 1), ['504 node-timeout']);
});
