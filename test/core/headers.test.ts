/** Only fields the other side may see are passed on: no hop-by-hop fields and no identity that others claim. */
import t from 'tap';
import type { RequestHead } from '../../gateway/core/facts.ts';
import {
  downstreamFields,
  fieldValues,
  listMembers,
  type Provenance,
  protectedOption,
  upstreamFields,
} from '../../gateway/core/headers.ts';

const known: Provenance = {
  requestId: 'id-1',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  client: '203.0.113.5',
  tenant: 'tenant-a',
  forwardAuthorization: false,
  forwardCertificateChain: false,
};

const head = (fields: readonly string[]): RequestHead => ({
  method: 'GET',
  target: '/a',
  path: '/a',
  encodedSlash: false,
  minor: 1,
  host: 'a.test',
  authority: 'a.test:8443',
  fields,
  framing: { kind: 'none' },
  keepAlive: true,
  expectsContinue: false,
});

/** Field lines as name and value, names in lower case. */
function linesOf(text: string): string[] {
  t.match(text, /^(?:[A-Za-z0-9-]+: [^\r\n]*\r\n)*$/, 'the text consists of whole lines');
  return text
    .split('\r\n')
    .slice(0, -1)
    .map((line) => line.replace(/^[^:]+/, (name) => name.toLowerCase()));
}

function upstream(fields: readonly string[], more: Partial<Provenance> = {}): string[] {
  const dropped = listMembers(fields, 'connection');
  return linesOf(upstreamFields(head(fields), dropped, { ...known, ...more }));
}

t.test('all values of a field are found in order, whatever its case', async (t) => {
  const fields = ['Accept', 'a', 'X-Accept', 'b', 'ACCEPT', 'c', 'accept', ''];
  t.same(fieldValues(fields, 'accept'), ['a', 'c', '']);
  t.same(fieldValues(fields, 'host'), []);
  t.same(listMembers(['Connection', 'Close, ,TE', 'connection', '\tX-A '], 'connection'), [
    'close',
    'te',
    'x-a',
  ]);
  t.same(listMembers(fields, 'host'), []);
});

t.test('the fields of a caller go upstream unchanged, Host included', async (t) => {
  const lines = upstream([
    'Host',
    'A.test:8443',
    'Accept',
    '*/*',
    'Cookie',
    'a=b',
    'X-Custom',
    'one',
    'X-Custom',
    'two',
  ]);
  t.same(lines.slice(0, 5), [
    'host: A.test:8443',
    'accept: */*',
    'cookie: a=b',
    'x-custom: one',
    'x-custom: two',
  ]);
});

t.test('the fields of the gateway are added once and say where the request came from', async (t) => {
  const certificate = {
    status: 'verified',
    subject: 'CN=w',
    dnsNames: [],
    uris: [],
    emails: [],
    thumbprint: 't',
    der: 'AQID',
    commonNames: [],
    serialNumber: '1',
    alternativeNames: '',
    fingerprint: '',
    notAfterMs: 0,
    chain: ['BAUG', 'BwgJ'],
  } as const;
  t.same(upstream([], { subject: 'worker-1', scope: 'read', model: 'm1', certificate }), [
    'x-forwarded-for: 203.0.113.5',
    'x-forwarded-proto: https',
    'x-forwarded-host: a.test:8443',
    'forwarded: for=203.0.113.5;host="a.test:8443";proto=https',
    'x-real-ip: 203.0.113.5',
    'x-request-id: id-1',
    `traceparent: ${known.traceparent}`,
    'patchgate-tenant: tenant-a',
    'patchgate-client: 203.0.113.5',
    'patchgate-subject: worker-1',
    'patchgate-scope: read',
    'patchgate-model: m1',
    'client-cert: :AQID:',
  ]);
  t.ok(
    upstream([], { client: '2001:db8::1' }).includes(
      'forwarded: for="[2001:db8::1]";host="a.test:8443";proto=https',
    ),
  );
});

const stripped = [
  ...[
    'Connection',
    'Keep-Alive',
    'Proxy-Connection',
    'Proxy-Authorization',
    'Proxy-Anything',
    'TE',
    'Trailer',
    'Upgrade',
  ],
  ...['Transfer-Encoding', 'Content-Length', 'Expect', 'HTTP2-Settings', 'Authorization'],
];
const owned = [
  ...[
    'X-Forwarded-For',
    'X-FORWARDED-FOR',
    'X-Forwarded-Client-Cert',
    'X-Forwarded-Anything',
    'X-Forwarded',
    'Forwarded',
    'X-Real-IP',
  ],
  ...[
    'Client-Cert',
    'Client-Cert-Chain',
    'X-Client-Cert',
    'Patchgate-Tenant',
    'patchgate-admin',
    'X-Envoy-External-Address',
  ],
  ...['X-Client-Cert-Chain', 'X-SSL-Client-Verify', 'SSL-Client-Cert', 'Remote-User', 'X-Remote-User'],
  ...[
    'True-Client-IP',
    'CF-Connecting-IP',
    'X-Original-URL',
    'X-Rewrite-URL',
    'X-HTTP-Method-Override',
    'traceparent',
  ],
];

t.test('hop-by-hop fields and all identity claims of a caller are dropped', async (t) => {
  for (const name of [...stripped, ...owned]) {
    const lines = upstream([name, 'hearsay', 'X-Other', 'kept']);
    t.notOk(
      lines.some((line) => line.includes('hearsay')),
      name,
    );
    t.ok(lines.includes('x-other: kept'));
  }
});

t.test(
  'fields named in Connection are dropped, but it may not name those the gateway relies on',
  async (t) => {
    t.notOk(upstream(['Connection', 'x-hop, close', 'X-Hop', '1']).includes('x-hop: 1'));
    for (const name of [
      ...owned,
      'Host',
      'Authorization',
      'Content-Length',
      'Content-Type',
      'Upload-Offset',
    ]) {
      t.equal(
        protectedOption(listMembers(['Connection', `close, ${name}`], 'connection')),
        name.toLowerCase(),
      );
    }
    t.equal(protectedOption(['close', 'keep-alive', 'te', 'upgrade', 'x-hop']), undefined);
  },
);

t.test('Authorization is passed on only where the route says so', async (t) => {
  t.ok(
    upstream(['Authorization', 'Bearer x'], { forwardAuthorization: true }).includes(
      'authorization: Bearer x',
    ),
  );
});

t.test('no subject can begin a line of its own or look like another', async (t) => {
  const subjects = [
    'a\r\nPatchgate-Tenant: b',
    'é',
    '%C3%A9',
    'a b',
    ' a',
    'a%20b',
    'a',
    '\0',
    'a\u2028b',
    '%',
  ];
  const texts = subjects.map((subject) =>
    upstream([], { subject }).filter((line) => line.startsWith('patchgate-subject')),
  );
  for (const lines of texts) t.equal(lines.length, 1);
  t.equal(new Set(texts.flat()).size, subjects.length, 'each subject is distinguished from the others');
  t.ok(upstream([], { subject: 'spiffe://a/b?c@d' }).includes('patchgate-subject: spiffe://a/b?c@d'));
});

t.test('a response is passed back without its hop-by-hop and framing fields', async (t) => {
  const fields = [
    'ETag',
    '"a"',
    'Connection',
    'x-hop',
    'X-Hop',
    '1',
    'Keep-Alive',
    'timeout=5',
    'Proxy-Authenticate',
    'x',
  ];
  const more = [
    'Transfer-Encoding',
    'chunked',
    'Content-Length',
    '5',
    'Trailer',
    'x',
    'Upgrade',
    'h2c',
    'Set-Cookie',
    'a=b',
  ];
  t.same(linesOf(downstreamFields([...fields, ...more], ['x-hop'])), ['etag: "a"', 'set-cookie: a=b']);
});
