/** Which fields may follow a body, and which never may. */
import t from 'tap';
import { mayBeTrailer, trailerLines } from '../../gateway/core/trailers.ts';

t.test('a field for framing, routing, access, control or content is never a trailer', async (t) => {
  const never =
    'Content-Length Transfer-Encoding Trailer TE Host Authorization Cookie Set-Cookie Content-Type Content-Encoding ' +
    'Content-Range Range If-Match Expect Connection Upgrade Cache-Control Location Vary WWW-Authenticate ' +
    'X-Forwarded-For Forwarded X-Request-Id Patchgate-Tenant Client-Cert Sec-WebSocket-Key traceparent Proxy-Authorization';
  for (const name of never.split(' ')) {
    t.notOk(mayBeTrailer(name), name);
    t.notOk(mayBeTrailer(name.toUpperCase()), name);
  }
  for (const name of ['X-Checksum', 'Digest', 'Server-Timing', 'grpc-status']) t.ok(mayBeTrailer(name), name);
});

t.test('the requested trailers are written in order, each as often as it came', async (t) => {
  const trailers = ['X-Sum', '1', 'Other', '2', 'x-SUM', '3'];
  t.equal(trailerLines(trailers, new Set(['x-sum'])), 'X-Sum: 1\r\nx-SUM: 3\r\n');
  t.equal(trailerLines(trailers, new Set()), '');
});
