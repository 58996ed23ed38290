/** The whole way of a request over real sockets: admission, refusal and what the node gets to see. */
import t from 'tap';
import { exchange, HOST, isWhole, rawNode, setStage } from './stage.ts';

const OK =
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Node: yes\r\nConnection: keep-alive, x-hop\r\nX-Hop: no\r\n\r\nok';

t.test('an admitted request reaches the node cleaned, and its answer comes back', async (t) => {
  const node = await rawNode(t, (socket, text) => {
    if (text.endsWith('\r\n\r\n')) socket.write(OK);
  });
  const stage = await setStage(t, { nodes: [node.address] });
  const token = await stage.token();
  const socket = await stage.connect();
  const answer = await exchange(
    socket,
    `GET /v1/models/vision/weights?a=b HTTP/1.1\r\nHost: ${HOST}:8443\r\nAuthorization: Bearer ${token}\r\n` +
      'X-Forwarded-For: 6.6.6.6\r\nPatchgate-Subject: root\r\nConnection: X-Mine\r\nX-Mine: secret\r\nTE: trailers\r\n\r\n',
    isWhole,
  );
  t.equal(answer, 'HTTP/1.1 200 OK\r\nX-Node: yes\r\nContent-Length: 2\r\n\r\nok');
  const [seen = ''] = node.received;
  t.match(seen, /^GET \/v1\/models\/vision\/weights\?a=b HTTP\/1\.1\r\nHost: a\.test:8443\r\n/);
  t.match(seen, 'X-Forwarded-For: 127.0.0.1\r\n');
  t.match(seen, 'Patchgate-Subject: worker-1\r\n');
  t.match(seen, 'Patchgate-Tenant: tenant-a\r\n');
  t.match(seen, /\r\nClient-Cert: :[A-Za-z0-9+/=]+:\r\n/);
  t.notMatch(seen, /6\.6\.6\.6|root|X-Mine|secret|Authorization|TE:/);
  const [line] = await stage.log(1);
  t.match(line, {
    tenant: 'tenant-a',
    route: 'weights',
    'client.address': '127.0.0.1',
    'http.response.status_code': 200,
    'url.path': '/v1/models/vision/weights',
    'token.sub': 'worker-1',
    bytes_out: 2,
    ended_by: 'upstream',
  });
  socket.destroy();
});

t.test('a node is told a scope only where a token granted it, also on a route in shadow', async (t) => {
  const node = await rawNode(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
  const stage = await setStage(t, {
    nodes: [node.address],
    routes: `  - name: weights
    match: { methods: [GET], path: '/v1/models/{model_id}/**' }
    mode: shadow
    require: { scope: publish, claims: { model_id: '{model_id}' } }
    upstream: sync
`,
  });
  const seenWith = async (fields: string): Promise<string> => {
    const before = node.received.join('');
    const socket = await stage.connect();
    const get = `GET /v1/models/vision/weights HTTP/1.1\r\nHost: ${HOST}\r\n${fields}\r\n`;
    t.match(await exchange(socket, get, isWhole), /^HTTP\/1\.1 200 /);
    socket.destroy();
    return node.received.join('').slice(before.length);
  };
  const withToken = async (claims: Readonly<Record<string, unknown>>): Promise<string> =>
    seenWith(`Authorization: Bearer ${await stage.token(claims)}\r\n`);
  t.notMatch(await seenWith(''), /Patchgate-(?:Scope|Subject)/, 'no token');
  t.notMatch(await withToken({ exp: 1 }), /Patchgate-(?:Scope|Subject)/, 'a token that has expired');
  t.notMatch(await withToken({ scope: 'read' }), 'Patchgate-Scope', 'a token for less');
  t.notMatch(await withToken({ scope: 'publish', model_id: 'other' }), 'Patchgate-Scope', 'another model');
  t.match(
    await withToken({ scope: 'publish' }),
    /Patchgate-Subject: worker-1\r\nPatchgate-Scope: publish\r\n/,
  );
});
