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
