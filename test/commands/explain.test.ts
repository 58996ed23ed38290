/** `explain` shows what the gateway does and why: for an address alone, a request, or a line of the log. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { createAuthority } from '../../gateway/demo/pki.ts';
import { damaged } from '../certificates/openssl.ts';
import { runHere } from './here.ts';
import { run, writePolicy } from './process.ts';

t.test('explain walks hop by hop to the prefix that decides', async (t) => {
  const { folder } = await writePolicy(t, '127.0.0.1:1');
  const policies = join(folder, 'policies');
  const [gateway, tenant] = [join(policies, 'gateway.yaml'), join(policies, 'tenants', 'tenant-a.yaml')];
  const edge = await readFile(gateway, 'utf8');
  await writeFile(gateway, edge.replace('name: edge', 'name: edge\n      trustedProxies: [10.0.0.0/8]'));
  const text = await readFile(tenant, 'utf8');
  await writeFile(
    tenant,
    text.replace(
      /addresses:[\s\S]*?allow: \[local\]/,
      'addresses:\n  offices: { cidrs: [203.0.113.0/24] }\n  bad: { cidrs: [203.0.113.7] }\nallow: [offices]\ndeny: [bad]',
    ),
  );
  const explain = (...words: string[]) => runHere('explain', '--config', policies, ...words);
  t.match(await explain('--peer', '10.0.0.5', '--forwarded', '6.6.6.6, 203.0.113.5, 10.0.0.9'), {
    status: 0,
    out: [
      'listener edge, x-forwarded-for: 6.6.6.6, 203.0.113.5, 10.0.0.9',
      '  10.0.0.5                 the peer, trusted by 10.0.0.0/8',
      '  10.0.0.9                 forwarded, trusted by 10.0.0.0/8',
      '  203.0.113.5              forwarded, not a trusted proxy: the client',
      'tenant tenant-a',
      `  allow  203.0.113.0/24 of list offices (${tenant}:4)`,
      '  → 203.0.113.5 is allowed',
      '',
    ].join('\n'),
  });
  t.match(await explain('--client-ip', '203.0.113.7'), {
    status: 1,
    out: [
      'tenant tenant-a',
      `  deny   203.0.113.7/32 of list bad (${tenant}:5)`,
      `  allow  203.0.113.0/24 of list offices (${tenant}:4)`,
      '  → 203.0.113.7 is denied: 403 address-denied',
      '',
    ].join('\n'),
  });
  t.match(await explain('--peer', '198.51.100.1', '--forwarded', '203.0.113.5'), {
    status: 1,
    out: /198\.51\.100\.1 +the peer, not a trusted proxy: the client\n.*\n {2}→ 198\.51\.100\.1 is denied/,
  });
  t.match(await explain('--peer', '10.0.0.5', '--forwarded', 'x'), {
    status: 1,
    out: /→ 400: .*not an address/,
  });
  for (const words of [[], ['--client-ip', '010.0.0.1'], ['--client-ip', '1.1.1.1', '--peer', '1.1.1.1']]) {
    t.match(await explain(...words), { status: 2 });
  }
  t.match(await explain('--client-ip', '1.1.1.1', '--tenant', 'x'), { status: 2 });
});

t.test('a request is explained step by step, with what would let it pass', async (t) => {
  const { folder, tokens, worker, clients } = await writePolicy(t, '127.0.0.1:1');
  const policies = join(folder, 'policies');
  const tenant = join(policies, 'tenants', 'tenant-a.yaml');
  const claims = { iss: 'https://auth.test', aud: 'weights', sub: 'worker-1', model_id: 'vision' };
  await writeFile(join(folder, 'reader.jwt'), await tokens.sign({ ...claims, scope: 'read:vision' }));
  await writeFile(join(folder, 'worker.pem'), worker.certificatePem);
  const asked = ['explain', '--config', policies, '--peer', '127.0.0.1'];
  const presented = ['--certificate', join(folder, 'worker.pem')];
  const explain = (...words: string[]) => runHere(...asked, ...presented, ...words);
  const reader = ['--token-file', join(folder, 'reader.jwt')];
  t.match(await run(t, ...asked, ...presented, ...reader, '--path', '/v1/models/vision/weights'), {
    status: 0,
    out: new RegExp(
      [
        'GET /v1/models/vision/weights at a.test',
        ' 1 route +passed +tenant tenant-a, route weights \\(.*tenant-a.yaml:26\\), model_id vision',
        ' 3 allowlist +passed +the tenant allows local .*\n +allow +127.0.0.0/8 of list local',
        ' 4 certificate passed +CN=worker, serial 1[0-9a-f]{30}, sha256 [0-9a-f]{16}…',
        ' 5 token +passed +issuer main .*, sub worker-1, until .*, not bound to a certificate',
        ' 6 scope +passed +the route requires read on vision .*\n +the token grants read:vision',
        '→ admitted, to upstream sync: http://127.0.0.1:1',
      ].join('[\\s\\S]*'),
    ),
  });
  const text = await readFile(tenant, 'utf8');
  await writeFile(tenant, text.replace('\nallow: [local]', '\nallow: [local]\ndeny: [local]'));
  t.match(await explain(...reader, '--path', '/v1/models/vision/weights'), {
    status: 1,
    out: / 3 allowlist +refused +the tenant denies local .*\n +the tenant allows local .*\n +deny +127\.0\.0\.0\/8 of list local/,
  });
  await writeFile(tenant, text);
  const refused = await explain(
    ...reader,
    '--method',
    'PUT',
    '--path',
    '/v1/models/vision/patches/s1',
    '--json',
  );
  t.equal(refused.status, 1);
  const told = JSON.parse(refused.out);
  t.match(told, {
    verdict: 'refused',
    route: 'push',
    decidedAt: `${tenant}:18`,
    answer: { status: 403, code: 'insufficient-scope', body: { code: 'insufficient-scope' } },
    wouldPassWith: [
      'the scope `finetune`, or `finetune:vision`',
      'a weight patch as its body (Content-Type: application/vnd.patchgate.weight-patch)',
    ],
  });
  t.same(
    told.steps.map(({ step, verdict }: { step: string; verdict: string }) => `${step} ${verdict}`).slice(4),
    ['certificate passed', 'token passed', 'scope refused', 'claims not reached', 'limits not reached'],
  );
  const other = await createAuthority('others');
  await writeFile(join(folder, 'worker.pem'), (await other.issueClient({ commonName: 'x' })).certificatePem);
  t.match(await explain(...reader, '--path', '/v1/models/vision/weights'), {
    status: 1,
    out: /not valid: its authority is not accepted\n.*the handshake fails, and no answer is sent/,
  });
  await writeFile(join(folder, 'worker.pem'), worker.certificatePem);
  await writeFile(join(folder, 'certs', 'a.test', 'clients.crl'), await clients.revocationList([worker]));
  t.match(await explain(...reader, '--path', '/v1/models/vision/weights'), {
    status: 1,
    out: /not valid: it was revoked/,
  });
});

t.test(
  'a certificate no handshake asks for is not shown, and characters are sent as their bytes',
  async (t) => {
    const { folder, worker } = await writePolicy(t, '127.0.0.1:1');
    const policies = join(folder, 'policies');
    const [gateway, tenant] = [join(policies, 'gateway.yaml'), join(policies, 'tenants', 'tenant-a.yaml')];
    const edge = await readFile(gateway, 'utf8');
    await writeFile(gateway, edge.replace('name: edge', 'name: edge\n      clientCertificates: none'));
    const text = await readFile(tenant, 'utf8');
    const named = 'require: none\n    certificate: { names: [worker], commonName: true }';
    await writeFile(tenant, text.replace('require: { scope: read }', named));
    await writeFile(join(folder, 'worker.pem'), worker.certificatePem);
    const caller = ['--peer', '127.0.0.1', '--certificate', join(folder, 'worker.pem')];
    const explain = (path: string) => runHere('explain', '--config', policies, ...caller, '--path', path);
    t.match(await explain('/v1/models/vision/weights'), {
      status: 1,
      out: / 4 certificate refused +the server name requests no certificate, so none is presented\n[\s\S]*→ 403 certificate-required/,
    });
    await writeFile(gateway, edge.replace('name: edge', 'name: edge\n      clientCertificates: optional'));
    t.match(await explain('/v1/models/vision/weights'), { status: 0, out: /certificate passed +CN=worker/ });
    for (const path of ['/v1/models/visi\u00f3n/weights', '/v1/models/\u0176ision/weights'])
      t.match(await explain(path), { status: 1, out: / 0 head +refused[\s\S]*→ 400 bad-request/ }, path);
  },
);

t.test('on a route in shadow a limit still refuses, and the shadowed denial is still reported', async (t) => {
  const { folder } = await writePolicy(t, '127.0.0.1:1');
  const policies = join(folder, 'policies');
  const tenant = join(policies, 'tenants', 'tenant-a.yaml');
  const text = await readFile(tenant, 'utf8');
  await writeFile(tenant, text.replace('serverNames:', 'mode: shadow\nserverNames:'));
  const words = ['--peer', '8.8.8.8', '--method', 'PUT', '--path', '/v1/models/vision/patches/s1', '--json'];
  const verdicts = async (...more: string[]): Promise<readonly string[]> => {
    const { out } = await runHere('explain', '--config', policies, ...words, ...more);
    return JSON.parse(out).steps.map(({ step, verdict }: Record<string, string>) => `${step} ${verdict}`);
  };
  const met = [
    'allowlist shadowed',
    ...['certificate', 'token', 'scope', 'claims'].map((s) => `${s} not reached`),
  ];
  const patch = ['--header', 'Content-Type: application/vnd.patchgate.weight-patch', '--body-bytes'];
  t.same((await verdicts(...patch, '9')).slice(3), [...met, 'limits passed']);
  t.same((await verdicts(...patch, '99999999999999')).slice(3), [...met, 'limits refused']);
});

t.test('explain says what a patch will be checked against, with the line of each rule', async (t) => {
  const { folder, tokens, worker } = await writePolicy(t, '127.0.0.1:1');
  const policies = join(folder, 'policies');
  const tenant = join(policies, 'tenants', 'tenant-a.yaml');
  await writeFile(join(folder, 'worker.pem'), worker.certificatePem);
  const claims = { iss: 'https://auth.test', aud: 'weights', sub: 'w', model_id: 'vision', max_epochs: 7 };
  const token = await tokens.sign({ ...claims, scope: 'finetune', base_version: 3, target_version: 4 });
  await writeFile(join(folder, 'w.jwt'), token);
  const text = await readFile(tenant, 'utf8');
  const explain = async (stream: string) => {
    await writeFile(
      tenant,
      text.replace(/stream: \{.*\}/, `stream: {\n      format: weight-patch,\n${stream}\n    }`),
    );
    const words = ['--peer', '127.0.0.1', '--method', 'PUT', '--path', '/v1/models/vision/patches/s1'];
    const more = ['--header', 'Content-Type: application/vnd.patchgate.weight-patch', '--body-bytes', '9'];
    const proof = ['--certificate', join(folder, 'worker.pem'), '--token-file', join(folder, 'w.jwt')];
    const { out } = await runHere('explain', '--config', policies, ...words, ...more, ...proof);
    return out.replaceAll(tenant, 'tenant-a.yaml');
  };
  const values = await explain(
    "      check: values,\n      maxAbs: 8,\n      maxChanged: 2.5%,\n      tensors: ['*.lora_A.*', '*.lora_B.*'],",
  );
  for (const line of [
    'a weight-patch (tenant-a.yaml:20), checked as it passes (tenant-a.yaml:21): its frames, their order, checksums and bounds, every index, and every value, which must be finite',
    'it must be for model vision, from version 3, to version 4, of epoch 7 or earlier',
    'values from -8 to 8 (tenant-a.yaml:22)',
    'at most 2.5 % of a tensor (tenant-a.yaml:23)',
    'only tensors named *.lora_A.* or *.lora_B.* (tenant-a.yaml:24)',
  ])
    t.ok(values.includes(line), line, { values });
  t.match(
    await explain('      check: header,'),
    'checked as it passes (tenant-a.yaml:21): its frames, their order, checksums and bounds\n',
  );
});

t.test('a token file is verified, but claims are taken as given', async (t) => {
  const { folder, worker } = await writePolicy(t, '127.0.0.1:1');
  await writeFile(join(folder, 'damaged.pem'), damaged(worker.certificatePem));
  const policies = join(folder, 'policies');
  const gateway = join(policies, 'gateway.yaml');
  const text = await readFile(gateway, 'utf8');
  await writeFile(gateway, text.replace('name: edge', 'name: edge\n      clientCertificates: optional'));
  const asked = ['--peer', '127.0.0.1', '--path', '/v1/models/vision/weights'];
  const explain = (...words: string[]) => runHere('explain', '--config', policies, ...asked, ...words);
  await writeFile(join(folder, 'forged.jwt'), 'eyJhbGciOiJFUzI1NiJ9.e30.AAAA');
  t.match(await explain('--token-file', join(folder, 'forged.jwt')), { status: 1, out: /→ 401 token-/ });
  const claims = {
    iss: 'https://auth.test',
    aud: 'weights',
    sub: 'w',
    iat: 1796126400,
    exp: 1796127000,
    scope: 'read',
  };
  const told = ['--claims', JSON.stringify(claims)];
  t.match(await explain(...told, '--time', '2026-12-01T12:05:00Z'), { status: 0, out: /→ admitted/ });
  t.match(await explain(...told, '--time', '2026-12-01T13:00:00Z'), {
    status: 1,
    out: /→ 401 token-expired[\s\S]*would pass with a currently valid token of issuer main with the scope `read`\n$/,
  });
  t.match(await explain('--header', 'Content-Length: x'), {
    status: 1,
    out: / 0 head +refused[\s\S]*→ 400 bad-request/,
  });
  for (const words of [
    ['--claims', '[]'],
    ['--claims', '{'],
    ['--time', 'noon'],
    ['--time', 'tomorrow 5'],
    ['--header', 'x'],
    ['--body-bytes', 'many'],
    ['--token-file', join(folder, 'none')],
    ['--certificate', join(folder, 'forged.jwt')],
    ['--certificate', join(folder, 'damaged.pem')],
    ['--listener', 'x'],
  ])
    t.match(
      await explain(...words),
      { status: 2, err: new RegExp(`explain: .*${words[0]?.slice(2)}`) },
      words.join(' '),
    );
});

t.test('explain reports the limits of a route and tries its tunnel handshake', async (t) => {
  const { folder, worker } = await writePolicy(t, '127.0.0.1:1');
  await writeFile(join(folder, 'worker.pem'), worker.certificatePem);
  const policies = join(folder, 'policies');
  const tenant = join(policies, 'tenants', 'tenant-a.yaml');
  const text = await readFile(tenant, 'utf8');
  const further = `routes:
  - name: feed
    match: { methods: [GET], path: /feed }
    require: none
    upgrade: websocket
    limits: { requests: 60/m, concurrent: 4, bytes: 20GiB/d, per: address }
    upstream: sync
`;
  const edited = text.replace('routes:\n', further);
  await writeFile(tenant, edited);
  const line = edited.slice(0, edited.indexOf('limits:')).split('\n').length;
  const caller = ['--peer', '127.0.0.1', '--certificate', join(folder, 'worker.pem')];
  const told = await run(t, 'explain', '--config', policies, ...caller, '--path', '/feed');
  t.match(told, {
    status: 1,
    out: new RegExp(
      [
        ' 8 limits +refused +a websocket handshake, and nothing else \\(.*\\)',
        ` +60 requests a minute per address, counted by the running gateway \\(${tenant}:${line}\\)`,
        ` +4 requests at once per address, counted by the running gateway \\(${tenant}:${line}\\)`,
        ` +21474836480 bytes a day per address, counted by the running gateway \\(${tenant}:${line}\\)`,
        '→ 426 upgrade-required\n',
        'would pass with a WebSocket handshake',
      ].join('[\\s\\S]*'),
    ),
  });
});
