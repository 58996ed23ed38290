/** Trailers are dropped at the gateway in both directions, except those that a route names. */
import t, { type Test } from 'tap';
import { exchange, HOST, rawNode, type Stage, setStage } from './stage.ts';

const ROUTES = `  - name: summed
    match: { methods: [GET, PUT], path: /summed }
    require: none
    stream: { trailers: [X-Checksum, Digest] }
    upstream: sync
  - name: open
    match: { methods: [GET, PUT], path: /open }
    require: none
    upstream: sync
`;

const BODY = '5\r\nhello\r\n0\r\nx-checksum:  abc \r\nX-Other: no\r\nContent-Length: 99\r\n\r\n';
const ANSWER =
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Other, X-Checksum\r\n\r\n' +
  '2\r\nok\r\n0\r\nX-Checksum: def\r\nSet-Cookie: a=b\r\n\r\n';

interface Heard {
  readonly toNode: string;
  readonly toCaller: string;
}

async function heard(t: Test, path: string, fields = '', minor = 1): Promise<Heard> {
  const node = await rawNode(t, (socket, text) => {
    if (text.endsWith('\r\n\r\n') && (minor === 0 || text.includes('\r\n0\r\n'))) socket.write(ANSWER);
  });
  const stage: Stage = await setStage(t, { nodes: [node.address], routes: ROUTES });
  const socket = await stage.connect();
  const head =
    minor === 0
      ? `GET ${path} HTTP/1.0\r\nHost: ${HOST}\r\n\r\n`
      : `PUT ${path} HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\n${fields}\r\n${BODY}`;
  const toCaller = await exchange(socket, head, (text) => /\r\n0\r\n(?:.+\r\n)*\r\n$/.test(text));
  socket.destroy();
  return { toNode: node.received[0] ?? '', toCaller };
}

t.test('trailers named by the route are passed on in both directions, only behind the body', async (t) => {
  const { toNode, toCaller } = await heard(
    t,
    '/summed',
    'Trailer: X-Checksum, X-Other\r\nTE: trailers, deflate\r\nConnection: TE\r\n',
  );
  t.match(toNode, /5\r\nhello\r\n0\r\nx-checksum: abc\r\n\r\n$/);
  t.match(toNode, /\r\nTrailer: x-checksum\r\n/);
  t.match(toNode, /\r\nTE: trailers\r\nConnection: TE\r\n/);
  t.match(toCaller, /2\r\nok\r\n0\r\nX-Checksum: def\r\n\r\n$/);
  t.match(toCaller, /\r\nTrailer: x-checksum\r\n/);
  const [head = ''] = toCaller.split('\r\n\r\n');
  t.notMatch(head, /def|Set-Cookie/i, 'a trailer is never merged into the head');
  t.notMatch(toNode + toCaller, /X-Other|a=b|: 99\r/);
});

t.test('a route that names no trailers passes on and announces none', async (t) => {
  const { toNode, toCaller } = await heard(
    t,
    '/open',
    'Trailer: X-Checksum\r\nTE: trailers\r\nConnection: TE\r\n',
  );
  t.match(toNode, /5\r\nhello\r\n0\r\n\r\n$/);
  t.match(toCaller, /2\r\nok\r\n0\r\n\r\n$/);
  t.notMatch(toNode + toCaller, /trailer|checksum|\r\nTE:/i);
});

t.test('a caller that does not announce trailers is not said to take any', async (t) => {
  const { toNode } = await heard(t, '/summed');
  t.notMatch(toNode, /\r\nTE:/);
  t.notMatch(toNode, /\r\nTrailer:/);
  t.match(toNode, /0\r\nx-checksum: abc\r\n\r\n$/);
});

t.test('an HTTP/1.0 caller gets only the body', async (t) => {
  const { toCaller } = await heard(t, '/summed', '', 0);
  t.match(toCaller, /\r\n\r\nok$/);
  t.notMatch(toCaller, /trailer|checksum/i);
});

t.test('a trailer that is no valid field breaks the framing', async (t) => {
  const node = await rawNode(t, () => undefined);
  const stage = await setStage(t, {
    nodes: [node.address],
    routes: ROUTES,
    gateway: '  timeouts: { linger: 50ms }',
  });
  for (const trailer of [
    ': empty',
    'X Checksum: a',
    'X-Checksum : a',
    ' X-Checksum: a',
    'X-Checksum: a\x00',
    'none',
  ]) {
    const socket = await stage.connect();
    const head = `PUT /summed HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    const answer = await exchange(socket, `${head}0\r\n${trailer}\r\n\r\n`);
    t.match(answer, /^HTTP\/1\.1 400 /, JSON.stringify(trailer));
  }
});
