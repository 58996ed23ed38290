/** Whatever does not fit the shape of a policy file is named with line, column and path, and nothing else is. */
import t from 'tap';
import { type Row, TENANT, testRows } from './fault-rows.ts';
import { createAuthorities, replaced, TENANT_YAML } from './policy-folder.ts';

const authorities = await createAuthorities();
const NAME = 'a name of lower-case letters, digits and hyphens';
const DAY = 'a duration like 800ms, 30s, 5m, 1h between 100 and 86400000 ms';

const GATEWAY_ROWS: readonly Row[] = [
  ['an unknown key', '  admin:', '  colour: red\n  admin:', '5:3 gateway.colour: unknown key colour'],
  [
    'text for a list',
    'edge\n',
    'edge\n      trustedProxies: 10.0.0.0/8\n',
    '4:23 gateway.listeners[0].trustedProxies: has the wrong type (expected a list)',
  ],
  [
    'counts',
    '  admin:',
    '  limits: { headFields: many, connections: 0, connectionsPerAddress: 1.5 }\n  admin:',
    '5:25 gateway.limits.headFields: has the wrong type (expected a number)',
    '5:44 gateway.limits.connections: is too small (expected at least 1)',
    '5:70 gateway.limits.connectionsPerAddress: has the wrong type (expected a whole number)',
  ],
  [
    'durations',
    '  admin:',
    '  timeouts: { handshake: 10, head: 99ms, keepAliveIdle: 5 m, streamIdle: 2d, drain: 010s }\n  admin:',
    `5:26 gateway.timeouts.handshake: has the wrong type (expected ${DAY.replace('86400000', '3600000')})`,
    `5:36 gateway.timeouts.head: "99ms" is invalid (expected ${DAY.replace('86400000', '3600000')})`,
    `5:57 gateway.timeouts.keepAliveIdle: "5 m" is invalid (expected ${DAY})`,
    `5:74 gateway.timeouts.streamIdle: "2d" is invalid (expected ${DAY})`,
    `5:85 gateway.timeouts.drain: "010s" is invalid (expected ${DAY.replace('100', '0')})`,
  ],
  [
    'a size',
    '  admin:',
    '  limits: { headBytes: 1023B }\n  admin:',
    '5:24 gateway.limits.headBytes: "1023B" is invalid (expected a size like 512B, 64KiB, 2GiB between 1024 and 262144 bytes)',
  ],
  [
    'addresses to listen at',
    '127.0.0.1:8443',
    "'127.0.0.1:65536'",
    '4:16 gateway.listeners[0].address: "127.0.0.1:65536" is invalid (expected host:port)',
  ],
  [
    'addresses of servers, without their passwords',
    '  admin:',
    `  state: { redis: 'redis:/worker:s@cr/et@10.0.0.9:6379' }
  etcd: { endpoints: ['https://root:secret@10.0.0.8:2379'] }
  admin:`,
    '5:19 gateway.state.redis: "…@10.0.0.9:6379" is invalid (expected redis://host:port or rediss://host:port)',
    '6:23 gateway.etcd.endpoints[0]: "…@10.0.0.8:2379" is invalid (expected http://host:port or https://host:port)',
  ],
  [
    'how limits are shared',
    '  admin:',
    `  state: { redis: 'redis://:secret@10.0.0.9:6379', prefix: 'a{b}', onFailure: hope }
  admin:`,
    '5:60 gateway.state.prefix: has the wrong format (expected up to 64 letters, digits and : . _ -)',
    '5:79 gateway.state.onFailure: has an unknown value (expected local, deny, allow)',
  ],
  [
    'access to servers that none of them could use',
    '  admin:',
    `  etcd: { endpoints: ['http://10.0.0.8:2379'], tls: { cert: a.pem }, user: gateway }
  state: { redis: 'redis://me:secret@10.0.0.9:6379', tls: { serverName: '*.x' }, passwordFile: p }
  admin:`,
    '5:9 gateway.etcd: has only one of user and passwordFile (expected both or neither)',
    '5:53 gateway.etcd.tls: the address of the server does not use TLS (expected https://host:port)',
    '5:53 gateway.etcd.tls: has only one of cert and key (expected both or neither)',
    '6:19 gateway.state.redis: contains a user or password, but passwordFile is set (expected only one of the two)',
    '6:59 gateway.state.tls: the address of the server does not use TLS (expected rediss://host:port)',
    '6:73 gateway.state.tls.serverName: *.x is not a server name (expected a DNS name)',
  ],
  [
    'a user of Redis without a password',
    '  admin:',
    `  state: { redis: 'rediss://10.0.0.9:6379', user: me }
  admin:`,
    '5:10 gateway.state: has user without passwordFile (expected both)',
  ],
  [
    'two listeners with one name and one address',
    '  admin:',
    '    - { name: edge, address: 127.0.0.1:8443 }\n  admin:',
    '5:15 gateway.listeners[1].name: duplicate listener name edge',
    '5:30 gateway.listeners[1].address: duplicate listener address 127.0.0.1:8443',
  ],
  [
    'host bits among trusted proxies',
    'edge\n',
    'edge\n      trustedProxies: [10.0.0.1/8]\n',
    '4:24 gateway.listeners[0].trustedProxies[0]: 10.0.0.1/8 has host bits set: the prefix is 10.0.0.0/8',
  ],
];

const SHAPE_ROWS: readonly Row[] = [
  ['an unknown key at the top', 'serverNames:', 'first: 1\nserverNames:', '2:1 first: unknown key first'],
  [
    'an unknown key of a route, of its match and of what it requires',
    "[GET, HEAD], path: '/v1/models/{model_id}/**' }\n    require: { scope: read }",
    '[GET], host: x, path: /v1 }\n    require: { scope: read, role: admin }\n    upstraem: sync',
    '23:30 routes[1].match.host: unknown key host',
    '24:29 routes[1].require.role: unknown key role',
    '25:5 routes[1].upstraem: unknown key upstraem',
  ],
  [
    'a list that is no mapping',
    "{ cidrs: [203.0.113.0/24, '2001:db8::/32'] }",
    '[203.0.113.0/24]',
    '4:12 addresses.offices: has the wrong type (expected a mapping)',
  ],
  [
    'a name that is none',
    '  partners:',
    '  Partners:',
    `5:3 addresses.Partners: is not a valid name (expected ${NAME})`,
    '6:18 allow[1]: unknown list partners (expected offices, Partners)',
  ],
  [
    'a missing key',
    '    audience: weight-sync\n',
    '',
    '9:5 issuers.main.audience: is missing (expected text)',
  ],
  [
    'a route that does not say whether it asks for a token',
    '    require: { scope: read }\n',
    '',
    '22:5 routes[1].require: is missing (expected a scope, or none)',
  ],
  [
    'a scope that does not exist',
    '{ scope: read }',
    '{ scope: write }',
    '24:23 routes[1].require.scope: has an unknown value (expected read, finetune, publish)',
  ],
  [
    'an algorithm with a shared secret',
    'algorithms: [ES256]',
    'algorithms: [ES256, HS256]',
    '12:25 issuers.main.algorithms[1]: has an unknown value (expected ES256, ES384, ES512, EdDSA, RS256, RS384, RS512, PS256, PS384, PS512)',
  ],
  [
    'methods in lower case, and none',
    'methods: [PUT]',
    'methods: []',
    '18:23 routes[0].match.methods: is too small (expected at least 1 entries)',
  ],
  [
    'a size in powers of ten',
    '2GiB',
    '2GB',
    '20:47 routes[0].stream.maxBytes: "2GB" is invalid (expected a size like 512B, 64KiB, 2GiB between 1 and 1125899906842624 bytes)',
  ],
  [
    'prefixes that are none',
    "[203.0.113.0/24, '2001:db8::/32']",
    "[203.0.113.1/24, 010.0.0.0/8, 203.0.113.0/33, 0x7f.1, '2001:db8::1/32', 10.0.0.0/08]",
    '4:22 addresses.offices.cidrs[0]: 203.0.113.1/24 has host bits set: the prefix is 203.0.113.0/24',
    '4:38 addresses.offices.cidrs[1]: 010.0.0.0/8 is not an address or a prefix',
    '4:51 addresses.offices.cidrs[2]: 203.0.113.0/33 is longer than 32 bits',
    '4:67 addresses.offices.cidrs[3]: 0x7f.1 is not an address or a prefix',
    '4:75 addresses.offices.cidrs[4]: 2001:db8::1/32 has host bits set: the prefix is 2001:db8::/32',
    '4:93 addresses.offices.cidrs[5]: 10.0.0.0/08 has no decimal prefix length',
  ],
];

testRows(t, authorities, 'gateway.yaml', GATEWAY_ROWS);
testRows(t, authorities, TENANT, SHAPE_ROWS);

t.test('an edit that changes nothing is an error of the test', async (t) => {
  t.throws(() => replaced(TENANT_YAML, 'not there', ''), /to replace/);
});
