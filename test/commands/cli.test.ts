/** The command line as a process: exit statuses, arguments and signals. */
import { spawn } from 'node:child_process';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { connect as dial } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { createAuthority } from '../../gateway/demo/pki.ts';
import { rawNode, secure, sleep, writeCertificates } from '../path/stage.ts';
import { runHere } from './here.ts';
import { cli, ports, run, start, writePolicy } from './process.ts';

t.test('unusable arguments exit with 2 and print the usage, and help exits with 0', async (t) => {
  for (const args of [[], ['nonsense'], ['check', '--nope'], ['push'], ['schema', '--of', 'x'], ['node']]) {
    const { status, err, out } = await run(t, ...args);
    t.equal(status, 2, args.join(' '));
    const [name = ''] = args.filter((each) => each !== 'nonsense');
    t.match(err + out, name === '' ? /Usage: patchgate <command>/ : `Usage: patchgate ${name} `);
    t.equal(
      err.includes('\n  demo '),
      args[0] === 'nonsense',
      'other commands are listed only if the command is unknown',
    );
  }
  const help = await run(t, '--help');
  t.equal(help.status, 0);
  for (const name of ['serve', 'check', 'schema', 'push', 'node', 'demo']) t.match(help.out, `\n  ${name} `);
  t.match(await run(t, 'check', '--help'), {
    status: 0,
    out: /^patchgate check --config policies\n\nreport every fault/,
  });
  t.match(await run(t, '--version'), { status: 0, out: /^patchgate \d+\.\d+\.\d+\n$/ });
});

t.test('check prints every fault with its place and exits with 1', async (t) => {
  const { folder } = await writePolicy(t, '127.0.0.1:1');
  const policies = join(folder, 'policies');
  t.match(await run(t, 'check', '--config', policies), {
    status: 0,
    out: /1 tenant, 3 routes, no faults\n$/,
  });
  const tenant = join(policies, 'tenants', 'tenant-a.yaml');
  const text = await readFile(tenant, 'utf8');
  await writeFile(tenant, text.replace('allow: [local]', 'allow: [nowhere]\ncolour: red'));
  const { status, err } = await run(t, 'check', '--config', policies);
  t.equal(status, 1);
  t.match(err, `${tenant}:4:9 allow[0]: unknown list nowhere (expected local)\n`);
  t.match(err, `${tenant}:5:1 colour: unknown key colour\n`);
  t.match(err, '2 faults\n');
  const none = await run(t, 'check', '--config', join(folder, 'none'));
  t.match(none, { status: 1, err: /gateway\.yaml:1:1: cannot be read: ENOENT/ });
});

t.test('certs lists certificates, check reports their faults, and neither shows a key', async (t) => {
  const { folder } = await writePolicy(t, '127.0.0.1:1');
  const config = ['--config', join(folder, 'policies')];
  const listed = await run(t, 'certs', ...config);
  t.equal(listed.status, 0);
  t.match(
    listed.out,
    /^a\.test {2}\(tenant-a, no gateway running\)\n {2}chain {4}CN=a\.test, by CN=servers, ec, expires in 1\d days/,
  );
  t.match(listed.out, /\n {2}clients {2}CN=clients, expires in 2\d days/);
  await writeFile(join(folder, 'certs', 'a.test', 'clients.crl'), 'nothing');
  const fault = join(
    folder,
    'certs',
    'a.test',
    'clients.crl:1:1: contains something other than complete revocation lists',
  );
  const faulty = await run(t, 'certs', ...config);
  const checked = await runHere('check', ...config);
  t.equal(faulty.status, 1);
  t.equal(checked.status, 1);
  t.match(faulty.out, fault);
  t.match(checked.err, fault);
  for (const { out, err } of [listed, faulty, checked]) t.notMatch(out + err, /PRIVATE/);
});

t.test('check warns of list entries that are duplicate, nested, allowed in vain or unused', async (t) => {
  const { folder } = await writePolicy(t, '127.0.0.1:1');
  const file = join(folder, 'policies', 'tenants', 'tenant-a.yaml');
  const list = join(folder, 'policies', 'tenants', 'offices.cidr');
  const lines = ['203.0.113.0/24', '203.0.113.0/24', '203.0.113.7/32', '198.51.100.0/24', '2001:db8::/32'];
  await writeFile(list, lines.join('\n'));
  const text = await readFile(file, 'utf8');
  const lists = [
    'addresses:',
    '  offices: { file: offices.cidr }',
    '  more: { cidrs: [198.51.100.9, 10.0.0.0/8] }',
    "  bad: { cidrs: ['2001:db8:1::/48', '2001::/16'] }",
    '  spare: { cidrs: [192.0.2.0/24] }',
    'allow: [offices, more]',
    'deny: [bad]',
  ];
  await writeFile(file, text.replace(/addresses:[\s\S]*?allow: \[local\]/, lists.join('\n')));
  const { status, err } = await runHere('check', '--config', join(folder, 'policies'));
  t.equal(status, 0, 'warnings are not faults');
  t.same(
    err
      .trim()
      .split('\n')
      .map((line) => line.replaceAll(`${join(folder, 'policies', 'tenants')}/`, ''))
      .sort(),
    [
      'warning: offices.cidr:2: duplicate of offices.cidr:1',
      'warning: offices.cidr:3: 203.0.113.7/32 is redundant: covered by 203.0.113.0/24 of list offices (offices.cidr:1)',
      'warning: offices.cidr:5: 2001:db8::/32 is allowed, but denied by 2001::/16 of list bad (tenant-a.yaml:6)',
      'warning: tenant-a.yaml:5: 198.51.100.9/32 is redundant: covered by 198.51.100.0/24 of list offices (offices.cidr:4)',
      'warning: tenant-a.yaml:6: 2001:db8:1::/48 is redundant: covered by 2001::/16 of list bad (tenant-a.yaml:6)',
      'warning: tenant-a.yaml:7:10 addresses.spare: no rule uses this list',
    ],
  );
});

t.test('certs and check cover the certificates shown to nodes', async (t) => {
  const { folder } = await writePolicy(t, '127.0.0.1:1');
  const tenants = join(folder, 'policies', 'tenants');
  const file = join(tenants, 'tenant-a.yaml');
  const text = await readFile(file, 'utf8');
  const tls = 'tls: { ca: ca.pem, cert: gateway.pem, key: gateway.key }';
  await writeFile(file, text.replace(/nodes: \['http:(.*)'\]/, `nodes: ['https:$1']\n    ${tls}`));
  const authority = await createAuthority('nodes');
  const pair = await authority.issueClient({ commonName: 'gateway' });
  await writeFile(join(tenants, 'ca.pem'), authority.certificatePem);
  await writeFile(join(tenants, 'gateway.pem'), pair.certificatePem);
  await writeFile(join(tenants, 'gateway.key'), pair.privateKeyPem);
  const config = ['--config', join(folder, 'policies')];
  t.match(await runHere('certs', ...config), {
    status: 0,
    out: /\ntenant-a\/sync {2}\(shown to nodes\)\n {2}chain {4}CN=gateway, by CN=nodes, ec, expires in 1\d days.*\n {2}nodes {4}CN=nodes, expires/,
  });
  const server = await authority.issueServer({ dnsNames: ['x.test'] });
  await writeFile(join(tenants, 'gateway.pem'), server.certificatePem);
  t.match(await runHere('check', ...config), {
    status: 1,
    err: new RegExp(
      [
        'gateway\\.pem:1:1: the first certificate is not for client authentication .*',
        '.*gateway\\.key:1:1: does not match the first certificate of cert',
        '2 faults',
      ].join('\n'),
    ),
  });
});

t.test('serve refuses a faulty policy and a port in use, and names it', async (t) => {
  const taken = await rawNode(t, () => undefined);
  const { folder } = await writePolicy(t, '127.0.0.1:1');
  const file = join(folder, 'policies', 'gateway.yaml');
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace('address: 127.0.0.1:0', `address: ${taken.address}`));
  t.match(await run(t, 'serve', '--config', join(folder, 'policies')), {
    status: 1,
    err: /EADDRINUSE.*127\.0\.0\.1/,
  });
  await writeFile(file, text.replace('address: 127.0.0.1:0', 'address: nowhere'));
  t.match(await run(t, 'serve', '--config', join(folder, 'policies')), {
    status: 1,
    err: /gateway\.yaml:4:16 /,
  });
});

t.test('SIGHUP reloads the policy, and a faulty one changes nothing', async (t) => {
  const { folder } = await writePolicy(t, '127.0.0.1:1');
  const running = start(t, ['serve', '--config', join(folder, 'policies')]);
  const { admin } = await ports(running);
  const policy = async () =>
    (await (await fetch(`http://127.0.0.1:${admin}/policy`)).json()) as {
      generation: number;
      faults: string[];
    };
  t.match(await policy(), { generation: 1, faults: [] });
  const tenant = join(folder, 'policies', 'tenants', 'tenant-a.yaml');
  const text = await readFile(tenant, 'utf8');
  await writeFile(tenant, `${text}# changed\n`);
  running.child.kill('SIGHUP');
  while ((await policy()).generation !== 2) await sleep(10);
  await writeFile(tenant, `${text}colour: red\n`);
  running.child.kill('SIGHUP');
  while ((await policy()).faults.length === 0) await sleep(10);
  t.match(await policy(), { generation: 2, faults: [/colour/], tenants: [{ name: 'tenant-a' }] });
  running.child.kill('SIGTERM');
  t.equal(await running.ended, 0);
});

function isTaken(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = dial(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') resolve(false);
      else reject(error);
    });
  });
}

t.test('SIGTERM lets a running stream end before the exit, and a second one stops at once', async (t) => {
  const node = await rawNode(t, (socket, text) => {
    if (text.endsWith('the end')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  });
  const { folder, caller } = await writePolicy(t, node.address);
  for (const signals of [1, 2]) {
    const running = start(t, ['serve', '--config', join(folder, 'policies')]);
    const { edge } = await ports(running);
    const socket = await secure({ host: '127.0.0.1', port: edge, ...caller });
    socket.on('error', () => undefined);
    let answer = '';
    socket.on('data', (piece: Buffer) => {
      answer += piece.toString();
    });
    const closed = new Promise((resolve) => socket.on('close', resolve));
    const heard = node.received.length;
    socket.write('PUT /open/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 12\r\n\r\nhalf ');
    while (!node.received[heard]?.endsWith('half ')) await sleep(5);
    running.child.kill('SIGTERM');
    while (!running.output.err.includes('draining')) await sleep(5);
    // The line is logged a moment before the listener closes.
    while (await isTaken(edge)) await sleep(5);
    t.pass('no new connection is accepted');
    if (signals === 2) running.child.kill('SIGTERM');
    else socket.write('the end');
    await closed;
    if (signals === 2) t.equal(answer, '', 'the second signal cuts the stream');
    else t.match(answer, /^HTTP\/1\.1 200 OK\r\n(?:.*\r\n)*\r\nok$/, 'the stream is answered');
    t.equal(await running.ended, 0);
  }
});

t.test('a command ends quietly when its reader goes away', async (t) => {
  const child = spawn('sh', ['-c', `"${process.execPath}" "${cli}" schema --of tenant | true`]);
  let err = '';
  child.stderr.on('data', (piece: Buffer) => {
    err += piece.toString();
  });
  child.stdout.resume();
  await new Promise((resolve) => child.on('close', resolve));
  t.equal(err, '');
});

t.test('the sample policies pass check once they have certificates', async (t) => {
  const folder = t.testdir({});
  await cp(fileURLToPath(new URL('../../policies', import.meta.url)), join(folder, 'policies'), {
    recursive: true,
  });
  const servers = await createAuthority('servers');
  for (const name of ['tenant-a.example.com', 'tenant-b.example.com']) {
    const server = await servers.issueServer({ dnsNames: [name] });
    await writeCertificates(join(folder, 'certs', name), server, servers.certificatePem);
  }
  const { err } = await runHere('check', '--config', join(folder, 'policies'));
  t.equal(err, '');
});
