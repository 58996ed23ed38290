/** Running streams are decided again whenever their grounds change, and end if they would not be admitted now. */
import { once } from 'node:events';
import { readFile, rename, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { createAuthority } from '../../gateway/demo/pki.ts';
import { createTokenIssuer } from '../../gateway/demo/token.ts';
import { until } from '../lists/servers.ts';
import { HOST, rawNode, type Stage, type StageOptions, setStage, sleep } from './stage.ts';

const ROUTES = ['end', 'grace 1s', 'finish']
  .map(
    (onExpiry) => `  - name: ${onExpiry.split(' ')[0]}
    match: { methods: [GET, PUT], path: '/${onExpiry.split(' ')[0]}/{model_id}' }
    require: { scope: finetune }
    onExpiry: ${onExpiry}
    upstream: sync
`,
  )
  .join('');

interface Yard extends Stage {
  /** The upstream ends of the running streams, in order. */
  readonly upstream: readonly Socket[];
}

/** A node that begins to answer a GET and never answers a PUT, and a tenant that revokes by a file. */
async function setYard(t: Test, more: Partial<StageOptions> = {}): Promise<Yard> {
  const folder = t.testdir({ 'revoked.txt': '# nobody\n', 'office.cidr': '127.0.0.0/8\n' });
  const upstream: Socket[] = [];
  const node = await rawNode(t, (socket, text) => {
    if (upstream.includes(socket)) return;
    upstream.push(socket);
    if (text.startsWith('GET')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun');
  });
  const addresses = `addresses: { office: { file: ${join(folder, 'office.cidr')} } }
allow: [office]
revocation: { tokens: { file: ${join(folder, 'revoked.txt')} } }`;
  const stage = await setStage(t, { nodes: [node.address], routes: ROUTES, addresses, ...more });
  return { ...stage, upstream };
}

interface Running {
  readonly socket: TLSSocket;
  /** Everything received until the connection closed. */
  readonly answer: Promise<string>;
  readonly isOpen: () => boolean;
}

/** A running request, which the node has begun to get. */
async function begin(yard: Yard, request: string, token: string): Promise<Running> {
  const before = yard.upstream.length;
  const socket = await yard.connect();
  let text = '';
  let open = true;
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  socket.on('error', () => undefined);
  const answer = new Promise<string>((resolve) => {
    socket.on('close', () => {
      open = false;
      resolve(text);
    });
  });
  const [method] = request.split(' ');
  const framing = method === 'PUT' ? 'Content-Length: 1000\r\n' : '';
  socket.write(`${request} HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${token}\r\n${framing}\r\n`);
  if (method === 'PUT') socket.write('the first bytes');
  if (!(await until(async () => yard.upstream.length > before))) throw new Error('no stream began');
  return { socket, answer, isOpen: () => open };
}

const put = (yard: Yard, token: string, route = 'end'): Promise<Running> =>
  begin(yard, `PUT /${route}/vision`, token);

/** Whether the upstream end is reset and not closed, so that the body cannot look complete. */
async function isReset(socket: Socket | undefined): Promise<boolean> {
  return until(async () => socket?.destroyed === true && !socket.readableEnded);
}

async function edit(yard: Stage, from: string, to: string): Promise<void> {
  const file = join(yard.folder, 'policies', 'tenants', 'tenant-a.yaml');
  const text = await readFile(file, 'utf8');
  if (!text.includes(from)) throw new Error(`no ${from} in the policy`);
  await writeFile(file, text.replace(from, to));
  const { faults } = await yard.gateway.reload();
  if (faults.length > 0) throw new Error(JSON.stringify(faults));
}

async function reexaminations(yard: Stage): Promise<string> {
  const text = await (await fetch(`${yard.admin}/metrics`)).text();
  return text
    .split('\n')
    .filter((line) => line.startsWith('patchgate_stream_reexaminations_total{outcome="ended"'))
    .join('\n');
}

t.test('a revoked token ends its upload at once, and no other', async (t) => {
  const yard = await setYard(t);
  const revoked = await put(yard, await yard.token({ jti: 'j-1' }));
  const other = await put(yard, await yard.token({ jti: 'j-2' }));
  const startedMs = Date.now();
  await writeFile(join(t.testdirName, 'revoked.txt'), '# the laptop was lost\njti:j-1\n');
  const answer = await revoked.answer;
  t.ok(Date.now() - startedMs < 2000, 'the upload ends within two seconds');
  t.match(answer, /^HTTP\/1\.1 401 .*"code":"token-revoked"/s);
  t.match(answer, /error="invalid_token", error_description="The token was revoked\."/);
  t.ok(await isReset(yard.upstream[0]), 'the node sees a broken body');
  await sleep(100);
  t.ok(other.isOpen());
  t.notOk(yard.upstream[1]?.destroyed);
  const [line] = await yard.log(1);
  t.match(line, {
    'denial.code': 'token-revoked',
    'token.jti': 'j-1',
    'http.response.status_code': 401,
    ended_by: 'gateway',
    cause: `it was revoked by ${join(t.testdirName, 'revoked.txt')}:2`,
  });
  t.equal(
    await reexaminations(yard),
    'patchgate_stream_reexaminations_total{outcome="ended",code="token-revoked"} 1',
  );
  other.socket.destroy();
});

t.test('a response that has begun is broken off, since nothing else can be said', async (t) => {
  const yard = await setYard(t);
  const running = await begin(yard, 'GET /end/vision', await yard.token({ sub: 'mallory' }));
  t.ok(await until(async () => running.socket.bytesRead > 0));
  await writeFile(join(t.testdirName, 'revoked.txt'), 'sub:mallory\n');
  t.match(await running.answer, /^HTTP\/1\.1 200 .*begun$/s);
  t.ok(await isReset(yard.upstream[0]));
  const [line] = await yard.log(1);
  t.match(line, { 'denial.code': 'token-revoked', 'http.response.status_code': 200, ended_by: 'gateway' });
});

t.test('an expired token ends its stream at once, after a grace or never, as onExpiry says', async (t) => {
  const yard = await setYard(t);
  await edit(yard, 'algorithms: [ES256]', 'algorithms: [ES256]\n    clockSkew: 0ms');
  const exp = Math.floor(Date.now() / 1000) + 2;
  const token = await yard.token({ exp, jti: 'short' });
  const [end, grace, finish] = [
    await put(yard, token),
    await put(yard, token, 'grace'),
    await put(yard, token, 'finish'),
  ];
  t.match(await end.answer, /^HTTP\/1\.1 401 .*token-expired/s);
  t.ok(Date.now() >= exp * 1000, 'the stream does not end early');
  t.ok(grace.isOpen());
  t.match(await grace.answer, /^HTTP\/1\.1 401 .*token-expired/s);
  t.ok(Date.now() >= exp * 1000 + 1000, 'the stream does not end before the grace has passed');
  await sleep(500);
  t.ok(finish.isOpen(), 'the stream may finish');
  await writeFile(join(t.testdirName, 'revoked.txt'), 'jti:short\n');
  t.match(await finish.answer, /token-revoked/, 'a revocation ends it all the same');
});

t.test('a reload ends a running stream only if the new policy would not admit it', async (t) => {
  const yard = await setYard(t);
  const running = await put(yard, await yard.token());
  for (let reload = 0; reload < 5; reload++) {
    await edit(yard, 'tenant: tenant-a', `# ${reload}\ntenant: tenant-a`);
    await sleep(30);
  }
  t.ok(running.isOpen());
  await edit(yard, 'scope: finetune', 'scope: publish');
  t.match(await running.answer, /^HTTP\/1\.1 403 .*insufficient_scope.*scope="publish"/s);
  t.ok(await isReset(yard.upstream[0]));
});

t.test('removing an address from its list ends the streams from there', async (t) => {
  const yard = await setYard(t);
  const running = await put(yard, await yard.token());
  await writeFile(join(t.testdirName, 'office.cidr'), '203.0.113.0/24\n');
  t.match(await running.answer, /^HTTP\/1\.1 403 .*address-denied/s);
});

t.test('withdrawing a key ends the streams of its tokens, and adding one ends none', async (t) => {
  const yard = await setYard(t);
  const file = join(yard.folder, 'policies', 'tenants', 'keys.json');
  const running = await put(yard, await yard.token());
  const next = await createTokenIssuer('next');
  await replace(file, JSON.stringify({ keys: [...yard.tokens.jwks.keys, ...next.jwks.keys] }));
  await sleep(700);
  t.ok(running.isOpen(), 'its signature was checked again and holds');
  await replace(file, JSON.stringify(next.jwks));
  t.match(await running.answer, /^HTTP\/1\.1 401 .*token-invalid/s);
});

t.test('a revoked certificate ends its streams, and its connection can do nothing more', async (t) => {
  const yard = await setYard(t);
  const running = await put(yard, await yard.token());
  const idle = await yard.connect();
  const list = await yard.clients.revocationList([yard.worker]);
  await replace(join(yard.folder, 'certs', HOST, 'clients.crl'), list);
  t.match(await running.answer, /^HTTP\/1\.1 403 .*certificate-denied/s);
  idle.write(`GET /end/vision HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
  const [chunk] = (await once(idle, 'data')) as [Buffer];
  t.match(chunk.toString(), /^HTTP\/1\.1 403 .*certificate-denied/s, 'an older connection is refused too');
  idle.destroy();
});

/** A time in whole seconds, as lists write their times. */
const inSeconds = (seconds: number): Date => new Date((Math.floor(Date.now() / 1000) + seconds) * 1000);

t.test('an overdue revocation list ends streams and requests as it ends handshakes', async (t) => {
  const yard = await setYard(t);
  const due = inSeconds(4);
  const list = await yard.clients.revocationList([], due);
  await replace(join(yard.folder, 'certs', HOST, 'clients.crl'), list);
  const running = await put(yard, await yard.token());
  const idle = await yard.connect();
  t.match(await running.answer, /^HTTP\/1\.1 403 .*certificate-denied/s);
  t.ok(Date.now() > due.getTime(), 'the stream does not end early');
  const [line] = await yard.log(1);
  t.match(line, { cause: 'the revocation list is past its time' });
  idle.write(`GET /end/vision HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
  const [chunk] = (await once(idle, 'data')) as [Buffer];
  t.match(chunk.toString(), /^HTTP\/1\.1 403 .*certificate-denied/s, 'an older connection is refused too');
  idle.destroy();
});

t.test('a list that is replaced in time ends nothing before the next one is due', async (t) => {
  const yard = await setYard(t);
  const file = join(yard.folder, 'certs', HOST, 'clients.crl');
  const [first, second] = [inSeconds(4), inSeconds(7)];
  await replace(file, await yard.clients.revocationList([], first));
  const running = await put(yard, await yard.token());
  await replace(file, await yard.clients.revocationList([], second));
  await sleep(first.getTime() + 600 - Date.now());
  t.ok(running.isOpen());
  t.match(await running.answer, /^HTTP\/1\.1 403 .*certificate-denied/s);
  t.ok(Date.now() > second.getTime());
});

t.test('an authority that is no longer accepted ends the streams of its clients', async (t) => {
  const yard = await setYard(t);
  const file = join(yard.folder, 'certs', HOST, 'clients.pem');
  const running = await put(yard, await yard.token());
  const other = await createAuthority('other clients');
  await replace(file, yard.clients.certificatePem + other.certificatePem);
  await sleep(500);
  t.ok(running.isOpen(), 'a further authority ends nothing');
  await replace(file, other.certificatePem);
  t.match(await running.answer, /^HTTP\/1\.1 403 .*certificate-denied/s);
  const [line] = await yard.log(1);
  t.match(line, { cause: 'its authority is no longer accepted' });
});

t.test('a bound token ends when the fingerprint of its certificate is revoked', async (t) => {
  const yard = await setYard(t);
  const { thumbprint } = yard.worker;
  const bound = await yard.token({ cnf: { 'x5t#S256': thumbprint } });
  const running = await put(yard, bound);
  await writeFile(
    join(t.testdirName, 'revoked.txt'),
    `sha256:${Buffer.from(thumbprint, 'base64url').toString('hex')}\n`,
  );
  t.match(await running.answer, /^HTTP\/1\.1 401 .*token-revoked/s);
});

/** Replaces the file so that other processes see the old text or the new one. */
async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text);
  await rename(`${file}.new`, file);
}
