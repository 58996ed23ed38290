/** What only a whole policy shows: names that lead nowhere, meaningless values, files that disagree. */
import t from 'tap';
import { type Row, TENANT, testRows } from './fault-rows.ts';
import { createAuthorities, LIST, TENANT_YAML, writePolicyFolder } from './policy-folder.ts';

const authorities = await createAuthorities();
const NAME = 'a name of lower-case letters, digits and hyphens';
const ISSUERS = TENANT_YAML.slice(TENANT_YAML.indexOf('issuers:'), TENANT_YAML.indexOf('upstreams:'));

const MEANING_ROWS: readonly Row[] = [
  [
    'a tenant that is not named as its file is',
    'tenant: tenant-a',
    'tenant: tenant-b',
    '1:9 tenant: the file of tenant-b is named tenant-a.yaml (expected tenant-b.yaml)',
  ],
  [
    'server names that are none, and one twice',
    '[a.example.com]',
    "[a.example.com, A.example.com, '*.com', a_b, '', '../../etc', a.example.com., '*']",
    ...[
      '2:30 serverNames[1]: duplicate server name A.example.com',
      '2:45 serverNames[2]: *.com is not a server name (expected a DNS name, or *. and a DNS name)',
      '2:54 serverNames[3]: a_b is not a server name (expected a DNS name, or *. and a DNS name)',
      '2:59 serverNames[4]:  is not a server name (expected a DNS name, or *. and a DNS name)',
      '2:63 serverNames[5]: ../../etc is not a server name (expected a DNS name, or *. and a DNS name)',
      '2:76 serverNames[6]: a.example.com. is not a server name (expected a DNS name, or *. and a DNS name)',
      '2:92 serverNames[7]: * is not a server name (expected a DNS name, or *. and a DNS name)',
    ],
  ],
  [
    'lists that do not exist',
    'allow: [offices, partners]',
    'allow: [offices, friends]\ndeny: [constructor]',
    '6:18 allow[1]: unknown list friends (expected offices, partners)',
    '7:8 deny[0]: unknown list constructor (expected offices, partners)',
  ],
  [
    'a list of a route that does not exist',
    'require: { scope: read }\n',
    'require: { scope: read }\n    allow: [constructor]\n',
    '25:13 routes[1].allow[0]: unknown list constructor (expected offices, partners)',
  ],
  [
    'a list of nothing',
    '{ file: lists/partners.cidr }',
    '{}',
    '5:13 addresses.partners: is an empty list (expected cidrs, file, etcd or redis)',
  ],
  [
    'a list file that is not there',
    'partners.cidr',
    'other.cidr',
    '5:21 addresses.partners.file: lists/other.cidr cannot be read: ENOENT',
  ],
  [
    'an upstream that does not exist',
    'scope: read }\n    upstream: sync',
    'scope: read }\n    upstream: constructor',
    '25:15 routes[1].upstream: unknown upstream constructor (expected sync)',
  ],
  [
    'a token asked for where nobody issues any',
    ISSUERS,
    '',
    '13:14 routes[0].require: requires a token, but the tenant has no issuer',
    '18:14 routes[1].require: requires a token, but the tenant has no issuer',
  ],
  [
    'a route name for two',
    'name: weights',
    'name: push-patch',
    '22:11 routes[1].name: duplicate route name push-patch',
  ],
  [
    'a regular expression that is none',
    'issuers:',
    "modelId: '^[a-z'\nissuers:",
    '7:10 modelId: is not a regular expression',
  ],
  [
    'a regular expression that would only be one within another',
    'issuers:',
    "modelId: 'a)|(b'\nissuers:",
    '7:10 modelId: is not a regular expression',
  ],
  [
    'a regular expression that a word could keep busy',
    'issuers:',
    "modelId: '^(?:[a-z]+-?)+$'\nissuers:",
    '7:10 modelId: repeats a group that itself varies in length or has alternatives, which can take unbounded time',
  ],
  [
    'keys for TLS that no node would use',
    "nodes: ['http://10.1.0.1:7001']",
    "nodes: ['http://10.1.0.1:7001']\n    tls: { serverName: a.test }",
    '16:10 upstreams.sync.tls: no node uses TLS (expected https://host:port)',
  ],
  [
    'a certificate for nodes without its key',
    "nodes: ['http://10.1.0.1:7001']",
    "nodes: ['https://10.1.0.1:7001']\n    tls: { cert: a.pem }",
    '16:10 upstreams.sync.tls: has only one of cert and key (expected both or neither)',
  ],
  [
    'a name for nodes that is none',
    "nodes: ['http://10.1.0.1:7001']",
    "nodes: ['https://10.1.0.1:7001']\n    tls: { serverName: '*.a.test' }",
    '16:24 upstreams.sync.tls.serverName: *.a.test is not a server name (expected a DNS name)',
  ],
  [
    'what only values are held against, where they are not looked at',
    'maxBytes: 2GiB',
    "check: deep, maxAbs: 8, maxChanged: 10%, tensors: ['*.lora_A.*']",
    '20:58 routes[0].stream.maxAbs: has no effect with check: deep (expected check: values)',
    '20:73 routes[0].stream.maxChanged: has no effect with check: deep (expected check: values)',
    '20:87 routes[0].stream.tensors: has no effect with check: deep (expected check: values)',
  ],
  [
    'limits of values that limit nothing',
    'maxBytes: 2GiB',
    "check: values, maxAbs: -1, maxChanged: 101%, tensors: ['']",
    '20:60 routes[0].stream.maxAbs: is too small (expected at least 0)',
    '20:76 routes[0].stream.maxChanged: "101%" is invalid (expected a share like 10% or 0.5%)',
    '20:92 routes[0].stream.tensors[0]: is too small (expected at least 1 characters)',
  ],
  [
    'values of a body that may be anything',
    'format: weight-patch, maxBytes: 2GiB',
    'check: values',
    '20:22 routes[0].stream.check: applies only to weight patches (expected format: weight-patch)',
  ],
  [
    'a depth in which a body is looked into that may be anything',
    'format: weight-patch, maxBytes: 2GiB',
    'check: deep',
    '20:22 routes[0].stream.check: applies only to weight patches (expected format: weight-patch)',
  ],
  [
    'names of certificates where none is asked for',
    'require: { scope: read }\n    upstream: sync\n',
    'require: { scope: read }\n    certificate: { names: [worker] }\n    upstream: sync\nclientCertificates: none\n',
    '25:18 routes[1].certificate: can never match: the tenant requests no client certificates (expected clientCertificates: optional or require)',
  ],
  [
    'a path with ** in its middle',
    "'/v1/models/{model_id}/**'",
    "'/v1/**/x'",
    '23:42 routes[1].match.path: ** is allowed only at the end of a path',
  ],
  [
    'a claim equal to a parameter the path does not have',
    "{ model_id: '{model_id}' }",
    "{ model_id: [vision, '{model}'] }",
    '19:53 routes[0].require.claims.model_id: the path has no {model} (expected {model_id}, {stream_id})',
  ],
  [
    'fine-tuning that would include publishing',
    'issuers:',
    'scopes: { finetune: [read, publish] }\nissuers:',
    '7:28 scopes.finetune[1]: finetune must not include publish',
  ],
  [
    'keys of two kinds',
    '{ file: keys/main.jwks.json }',
    '{ file: keys/main.jwks.json, jwks: https://auth.example.com/ }',
    '11:11 issuers.main.keys: has neither or both of jwks and file (expected exactly one of them)',
  ],
  [
    'keys over plain http',
    '{ file: keys/main.jwks.json }',
    '{ jwks: http://auth.example.com/ }',
    '11:19 issuers.main.keys.jwks: http://auth.example.com/ is not a JWKS address (expected https://…)',
  ],
  [
    'a password in the address of keys, which is not shown',
    '{ file: keys/main.jwks.json }',
    '{ jwks: "http://us:er@auth.example.com/" }',
    '11:19 issuers.main.keys.jwks: …@auth.example.com/ is not a JWKS address (expected https://…)',
  ],
  [
    'keys that are kept for less than the time between two fetches',
    '{ file: keys/main.jwks.json }',
    '{ jwks: https://auth.example.com/, refresh: 10m, keep: 5m }',
    '11:66 issuers.main.keys.keep: is shorter than refresh',
  ],
  [
    'fetches of keys that are in a file',
    '{ file: keys/main.jwks.json }',
    '{ file: keys/main.jwks.json, refresh: 5m, keep: 1h }',
    '11:49 issuers.main.keys.refresh: has no effect on a key file (expected jwks)',
    '11:59 issuers.main.keys.keep: has no effect on a key file (expected jwks)',
  ],
  [
    'a scope that names another twice',
    'issuers:',
    'scopes: { finetune: [read, read] }\nissuers:',
    '7:28 scopes.finetune[1]: duplicate scope read',
  ],
];

const NODES = [
  'http://010.0.0.1:7001',
  'http://u@x:1',
  'http://:p@x:1',
  'http://x:0',
  'http://x:65536',
  'http://x/y',
  'http://x?y',
  'http://x#y',
  'http://0x7f000001:1',
  'http://1:1',
  'https://u@x:1',
  'https://x/y',
  'x:1',
  'ftp://x:1',
  '',
];

t.test('a key file without keys is a fault', async (t) => {
  const folder = await writePolicyFolder(t, authorities);
  await folder.edit(TENANT, 'keys/main.jwks.json', 'lists/partners.cidr');
  t.same((await folder.load()).faults, [
    'tenants/lists/partners.cidr:1:1: it is not a JSON Web Key Set: an object with a list "keys" of objects',
  ]);
});

testRows(t, authorities, TENANT, MEANING_ROWS);

t.test('a node is http or https with a host and a port, and nothing a URL parser could twist', async (t) => {
  const nodes = `nodes:\n${NODES.map((node) => `      - '${node}'`).join('\n')}`;
  const folder = await writePolicyFolder(t, authorities);
  await folder.edit(TENANT, "nodes: ['http://10.1.0.1:7001']", nodes);
  const { faults } = await folder.load();
  t.same(
    faults,
    NODES.map(
      (node, index) =>
        `${TENANT}:${16 + index}:9 upstreams.sync.nodes[${index}]: ${node.replace(/.*@/, '…@')} is not a node address (expected http://host:port or https://host:port)`,
    ),
  );
});

t.test('faults of all files are reported together, each once, in the order of lines', async (t) => {
  const folder = await writePolicyFolder(t, authorities, {
    'tenants/lists/partners.cidr': `${LIST}\n  10.0.0.1/8 # a machine, not a network\n300.1.1.1\n`,
  });
  await folder.addTenant('tenant-b', 'b.example.com');
  await folder.edit('gateway.yaml', '  admin:', '  workers: 0\n  admin:');
  await folder.edit(TENANT, 'tenant: tenant-a', 'colour: red\ntenant: tenant-c');
  await folder.edit(TENANT, 'allow: [offices, partners]', 'allow: [Offices, friends]');
  await folder.edit('tenants/tenant-b.yaml', 'name: weights', 'name: push-patch');
  const { faults, policy } = await folder.load();
  t.equal(policy, undefined);
  const inList = [
    'tenants/lists/partners.cidr:6:3: 10.0.0.1/8 has host bits set: the prefix is 10.0.0.0/8',
    'tenants/lists/partners.cidr:7:1: 300.1.1.1 is not an address or a prefix',
  ];
  t.same(faults, [
    'gateway.yaml:5:12 gateway.workers: is too small (expected at least 1)',
    `${TENANT}:1:1 colour: unknown key colour`,
    `${TENANT}:2:9 tenant: the file of tenant-c is named tenant-a.yaml (expected tenant-c.yaml)`,
    `${TENANT}:7:9 allow[0]: has the wrong format (expected ${NAME})`,
    `${TENANT}:7:18 allow[1]: unknown list friends (expected offices, partners)`,
    ...inList,
    'tenants/tenant-b.yaml:22:11 routes[1].name: duplicate route name push-patch',
  ]);
});

t.test('a server name that two tenants ask for belongs to the first', async (t) => {
  const folder = await writePolicyFolder(t, authorities);
  await folder.addTenant('tenant-b', 'b.example.com');
  await folder.edit('tenants/tenant-b.yaml', '[b.example.com]', '[b.example.com, A.EXAMPLE.COM]');
  const { faults, policy } = await folder.load();
  t.same(faults, [
    'tenants/tenant-b.yaml:2:30 serverNames[1]: server name a.example.com already belongs to tenant tenant-a',
  ]);
  t.same([...(policy?.tenants.keys() ?? [])], ['tenant-a']);
  t.equal(policy?.serverNames.get('b.example.com'), undefined);
});

t.test('a tenant file must end in .yaml', async (t) => {
  const folder = await writePolicyFolder(t, authorities, { 'tenants/tenant-b.yml': TENANT_YAML });
  await folder.edit('tenants/tenant-b.yml', 'tenant-a', 'tenant-b');
  t.same((await folder.load()).faults, [
    'tenants/tenant-b.yml:1:9 tenant: the file of tenant-b is named tenant-b.yml (expected tenant-b.yaml)',
  ]);
});

t.test('a file that cannot be read is a fault', async (t) => {
  const folder = await writePolicyFolder(t, authorities);
  await folder.remove(TENANT);
  await folder.write(`${TENANT}/x`, '');
  t.same((await folder.load()).faults, [`${TENANT}:1:1: cannot be read: EISDIR`]);
  await folder.remove('tenants');
  t.same((await folder.load()).faults, ['tenants:1:1: cannot be read: ENOENT']);
  await folder.remove('gateway.yaml');
  t.same(await folder.load(), { faults: ['gateway.yaml:1:1: cannot be read: ENOENT'] });
});
