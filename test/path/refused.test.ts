/** A refusal is decided before a byte of the body is asked for, and nothing of it reaches a node. */
import { connect as dial } from 'node:net';
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import { exchange, HOST, rawNode, readPaths, type Stage, setStage, sleep } from './stage.ts';

const PATH = '/v1/models/vision/patches/00000000000000000000000000000000';
const TYPE = 'Content-Type: application/vnd.patchgate.weight-patch';
const answered = (text: string): boolean => text.endsWith('}\n');

function push(token: string, fields: string): string {
  return `PUT ${PATH} HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${token}\r\n${TYPE}\r\n${fields}\r\n\r\n`;
}

t.test('a refused push of 10 GB costs its head alone', async (t) => {
  const node = await rawNode(t, () => undefined);
  const stage = await setStage(t, { nodes: [node.address] });
  const token = await stage.token({ scope: 'read' });
  for (const expect of ['', '\r\nExpect: 100-continue']) {
    const socket = await stage.connect();
    const answer = await exchange(socket, push(token, `Content-Length: 10737418240${expect}`), answered);
    t.match(answer, /^HTTP\/1\.1 403 .*"code":"insufficient-scope"/s, 'there is no 100 before the refusal');
    t.match(answer, /\r\nConnection: close\r\n/);
    socket.destroy();
  }
  const lines = await stage.log(2);
  t.match(lines, [{ bytes_in: 0, 'denial.code': 'insufficient-scope', cause: /scope/ }, { bytes_in: 0 }]);
  t.same(node.received, [], 'the node heard nothing');
});

t.test(
  'a caller that goes on sending after its refusal sees the answer, and is cut in the end',
  async (t) => {
    const node = await rawNode(t, () => undefined);
    const stage = await setStage(t, { nodes: [node.address], gateway: '  timeouts: { linger: 1s }' });
    const socket = await stage.connect();
    const errors: string[] = [];
    socket.on('error', (error) => errors.push(error.message));
    let answer = '';
    socket.on('data', (piece: Buffer) => {
      answer += piece.toString('latin1');
    });
    const ended = new Promise<void>((resolve) => socket.on('close', () => resolve()));
    socket.write(push(await stage.token({ scope: 'read' }), 'Content-Length: 1000000000'));
    while (!answered(answer)) {
      socket.write(Buffer.alloc(16_384));
      await sleep(2);
    }
    t.match(answer, /^HTTP\/1\.1 403 /);
    t.same(errors, [], 'there is no reset before the answer was read');
    await ended;
  },
);

t.test('100 Continue is sent after admission, and the body then goes to the node', async (t) => {
  const node = await rawNode(t, (socket, text) => {
    if (text.endsWith('hello')) socket.write('HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n');
  });
  const stage = await setStage(t, { nodes: [node.address] });
  const socket = await stage.connect();
  const head = `PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n`;
  t.equal(await exchange(socket, head, (text) => text.endsWith('\r\n\r\n')), 'HTTP/1.1 100 Continue\r\n\r\n');
  t.match(await exchange(socket, 'hello', (text) => text.endsWith('\r\n\r\n')), /^HTTP\/1\.1 201 /);
  t.notMatch(node.received[0], /expect/i, 'the node gets no expectation');
  socket.destroy();
});

for (const { how, readsInPlace } of readPaths) {
  t.test(
    `a body over its limit gets a 413, by its length or before the node has its end (${how})`,
    async (t) => {
      const node = await rawNode(t, () => undefined);
      const stage = await setStage(t, {
        readsInPlace,
        nodes: [node.address],
        routes: `  - name: small
    match: { methods: [PUT], path: /small }
    require: none
    stream: { maxBytes: 1KiB }
    upstream: sync
`,
      });
      const put = (fields: string): string => `PUT /small HTTP/1.1\r\nHost: ${HOST}\r\n${fields}\r\n\r\n`;
      const declared = await stage.connect();
      t.match(
        await exchange(declared, put('Content-Length: 1025\r\nExpect: 100-continue'), answered),
        /^HTTP\/1\.1 413 .*"code":"body-too-large"/s,
      );
      t.same(node.received, []);
      const counted = await stage.connect();
      const chunk = `400\r\n${'x'.repeat(1024)}\r\n`;
      t.match(
        await exchange(counted, `${put('Transfer-Encoding: chunked')}${chunk}1\r\ny\r\n0\r\n\r\n`, answered),
        /^HTTP\/1\.1 413 .*"code":"body-too-large"/s,
      );
      t.notMatch(node.received.join(''), /\r\n0\r\n\r\n/, 'the node has not seen its end');
      for (const socket of [declared, counted]) socket.destroy();
    },
  );
}

t.test('each refusal has its status and code, and the connection goes on where it can', async (t) => {
  const node = await rawNode(t, () => undefined);
  const stage = await setStage(t, { nodes: [node.address], listener: '      trustedProxies: [127.0.0.0/8]' });
  const good = await stage.token();
  const rows: readonly (readonly [string, number, string])[] = [
    ['GET /nowhere', 404, 'not-found'],
    ['POST /v1/models/vision/weights', 405, 'method-not-allowed'],
    [
      `GET /v1/models/vision/weights\nX-Forwarded-For: 192.0.2.1\nAuthorization: Bearer ${good}`,
      403,
      'address-denied',
    ],
    ['GET /v1/models/vision/weights\nX-Forwarded-For: 1.2.3', 400, 'bad-forwarding'],
    ['GET /v1/models/vision/weights', 401, 'token-missing'],
    ['GET /v1/models/vision/weights\nAuthorization: Basic YTpi', 401, 'token-missing'],
    ['GET /v1/models/vision/weights\nAuthorization: Bearer a.b.c', 401, 'token-malformed'],
    [`GET /v1/models/vision/weights\nAuthorization: Bearer ${good.slice(0, -6)}AAAAAA`, 401, 'token-invalid'],
    [`GET /v1/models/vision/weights\nAuthorization: Bearer ${await expired(stage)}`, 401, 'token-expired'],
    [`GET /v1/models/vision/weights\nAuthorization: Bearer ${await unbound(stage)}`, 401, 'token-unbound'],
    [`GET /v1/models/other/weights\nAuthorization: Bearer ${good}`, 403, 'claim-denied'],
  ];
  const socket = await stage.connect();
  for (const [text, status, code] of rows) {
    const [start, ...fields] = text.split('\n');
    const request = `${start} HTTP/1.1\r\nHost: ${HOST}\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`;
    const answer = await exchange(socket, request, answered);
    t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} [\\s\\S]*"code":"${code}"`), text.slice(0, 60));
    t.notMatch(answer, /Connection: close/);
  }
  const lines = await stage.log(rows.length);
  t.same(
    lines.map((line) => line['denial.code']),
    rows.map(([, , code]) => code),
    'there is one line for each',
  );
  t.same(node.received, []);
  socket.destroy();
});

const expired = (stage: Stage): Promise<string> => {
  const nowS = Math.floor(Date.now() / 1000);
  return stage.token({ iat: nowS - 600, exp: nowS - 300 });
};
const unbound = (stage: Stage): Promise<string> => stage.token({ cnf: { 'x5t#S256': 'A'.repeat(43) } });

t.test('plain TCP and unfinished heads hold nothing up for long', async (t) => {
  const node = await rawNode(t, () => undefined);
  const stage = await setStage(t, {
    nodes: [node.address],
    gateway: '  timeouts: { handshake: 200ms, head: 300ms }',
  });
  const plain = dial(stage.port, '127.0.0.1');
  plain.on('error', () => undefined);
  plain.write('GET / HTTP/1.1\r\n\r\n');
  await ended(plain);
  const slow: TLSSocket = await stage.connect();
  t.match(await exchange(slow, 'GET /open/x HTTP/1.1\r\nHost:'), /^HTTP\/1\.1 408 .*"code":"head-timeout"/s);
  t.same(node.received, []);
});

function ended(socket: { on(name: 'close', listener: () => void): unknown }): Promise<void> {
  return new Promise((resolve) => socket.on('close', () => resolve()));
}

t.test('the log names the request and tenant of a refused head, and the reason', async (t) => {
  const node = await rawNode(t, () => undefined);
  const stage = await setStage(t, { nodes: [node.address] });
  for (const [begins, rest] of [
    ['GET /open/../x?token=secret HTTP/1.1', `Host: ${HOST}`],
    ['PUT /open/x HTTP/1.1', `Host: ${HOST}\r\nHost: ${HOST}`],
    ['GET /open/x HTTP/1.1', 'Host: other.test'],
    ['GET  /open/x HTTP/1.1', `Host: ${HOST}`],
    ['GET http://bob:secret@other.test/x HTTP/1.1', `Host: ${HOST}`],
  ]) {
    const socket = await stage.connect();
    t.match(await exchange(socket, `${begins}\r\n${rest}\r\n\r\n`, answered), /^HTTP\/1\.1 4/);
    socket.destroy();
  }
  const lines = await stage.log(5);
  const tenant = 'tenant-a';
  t.match(lines, [
    { tenant, 'http.request.method': 'GET', 'url.path': '/open/../x', 'decision.step': 'head' },
    {
      tenant,
      'http.request.method': 'PUT',
      'url.path': '/open/x',
      cause: /host is repeated/,
    },
    { tenant, 'http.request.method': 'GET', 'url.path': '/open/x', 'denial.code': 'misdirected' },
    { tenant, cause: /single spaces/ },
    { tenant, 'http.request.method': 'GET', 'url.path': undefined },
  ]);
  t.match(lines[0], { cause: /dot segment/ });
  t.notMatch(JSON.stringify(lines), 'secret');
  const { body } = await fetch(`${stage.admin}/metrics`).then(async (answer) => ({
    body: await answer.text(),
  }));
  t.match(body, 'tenant="tenant-a",route="",method="PUT",code="400"} 1\n');
});
