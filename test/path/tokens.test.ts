/** Tokens over real sockets: limited failures, keys that change at run time, routes in shadow. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { createTokenIssuer } from '../../gateway/demo/token.ts';
import { until } from '../lists/servers.ts';
import { exchange, HOST, isWhole, rawNode, type Stage, type StageOptions, setStage, sleep } from './stage.ts';

async function stageWith(t: Test, options: Partial<StageOptions> = {}): Promise<Stage> {
  const node = await rawNode(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  return setStage(t, { nodes: [node.address], ...options });
}

async function ask(
  stage: Stage,
  token: string | undefined,
  path = '/v1/models/vision/weights',
): Promise<string> {
  const socket = await stage.connect();
  const credentials = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`;
  const answer = await exchange(
    socket,
    `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n${credentials}\r\n`,
    isWhole,
  );
  socket.destroy();
  return answer;
}

t.test('an address that sends forged tokens is told to wait, but its good token passes', async (t) => {
  const stage = await stageWith(t, {
    addresses: 'addresses: { local: { cidrs: [127.0.0.0/8] } }\nallow: [local]\nfailedTokensPerAddress: 3/h',
  });
  const good = await stage.token();
  t.match(await ask(stage, good), /^HTTP\/1\.1 200 /);
  const forger = await createTokenIssuer();
  const forged = await forger.sign({ iss: 'https://auth.test', aud: 'weights', sub: 'x', scope: 'read' });
  for (let each = 0; each < 3; each++) t.match(await ask(stage, forged), /^HTTP\/1\.1 401 .*token-invalid/s);
  t.match(await ask(stage, forged), /^HTTP\/1\.1 429 .*\r\nRetry-After: 1200\r\n.*"code":"rate-limited"/s);
  t.match(await ask(stage, await stage.token({ sub: 'new' })), /^HTTP\/1\.1 429 /);
  t.match(await ask(stage, good), /^HTTP\/1\.1 200 /);
});

t.test('a route in shadow admits what it would refuse, and records it separately', async (t) => {
  const stage = await stageWith(t, {
    routes: `  - name: weights
    match: { methods: [GET], path: '/v1/models/{model_id}/**' }
    mode: shadow
    require: { scope: publish }
    upstream: sync
`,
  });
  t.match(await ask(stage, undefined), /^HTTP\/1\.1 200 /);
  t.match(await ask(stage, await stage.token()), /^HTTP\/1\.1 200 /);
  const [missing, narrow] = await stage.log(2);
  t.match(missing, {
    'shadow.step': 'token',
    'shadow.code': 'token-missing',
    'http.response.status_code': 200,
  });
  t.match(narrow, { 'shadow.step': 'scope', 'shadow.code': 'insufficient-scope', 'token.sub': 'worker-1' });
  t.notOk(narrow !== undefined && 'denial.code' in narrow);
  const metrics = await (await fetch(`${stage.admin}/metrics`)).text();
  t.match(metrics, 'patchgate_decisions_total{step="scope",outcome="shadowed",code="insufficient-scope"} 1');
});

t.test('a refusal by a limit is logged beside what a route in shadow would have refused', async (t) => {
  const stage = await stageWith(t, {
    routes: `  - name: put
    match: { methods: [PUT], path: '/v1/models/{model_id}' }
    mode: shadow
    require: { scope: publish }
    stream: { maxBytes: 1B }
    upstream: sync
`,
  });
  const socket = await stage.connect();
  const put = `PUT /v1/models/vision HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 2\r\n\r\n`;
  t.match(await exchange(socket, put, isWhole), /^HTTP\/1\.1 413 /);
  socket.destroy();
  const [line] = await stage.log(1);
  t.match(line, { 'denial.code': 'body-too-large', 'shadow.step': 'token', 'shadow.code': 'token-missing' });
});

t.test('each token not seen before counts once for its issuer, also in shadow', async (t) => {
  const route = (name: string, more: string): string => `  - name: ${name}
    match: { methods: [GET], path: '/v1/models/{model_id}/${name}' }
    require: { scope: finetune, binding: required }
    upstream: sync${more}
`;
  const stage = await stageWith(t, { routes: route('weights', '') + route('shadow', '\n    mode: shadow') });
  const token = await stage.token({ cnf: { 'x5t#S256': 'A'.repeat(43) } });
  const forged = `${token.slice(0, -8)}AAAAAAAA`;
  for (const each of [token, token, forged, 'a.b.c']) t.match(await ask(stage, each), /^HTTP\/1\.1 401 /);
  t.match(await ask(stage, `${token.slice(0, -8)}BBBBBBBA`, '/v1/models/vision/shadow'), /^HTTP\/1\.1 200 /);
  const metrics = await (await fetch(`${stage.admin}/metrics`)).text();
  t.same(metrics.match(/^patchgate_token_verifications_total.*$/gm)?.sort(), [
    'patchgate_token_verifications_total{issuer="",outcome="token-malformed"} 1',
    'patchgate_token_verifications_total{issuer="main",outcome="token-invalid"} 2',
    'patchgate_token_verifications_total{issuer="main",outcome="token-unbound"} 1',
  ]);
});

t.test(
  'fetched keys are there before the first request, across reloads and while the issuer is down',
  async (t) => {
    const tokens = await createTokenIssuer();
    let requests = 0;
    let isDown = false;
    const issuer = createServer((_request, response) => {
      requests += 1;
      if (isDown) response.destroy();
      else response.end(JSON.stringify(tokens.jwks));
    });
    await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
    t.teardown(() => issuer.closeAllConnections());
    t.teardown(() => issuer.close());
    const { port } = issuer.address() as AddressInfo;
    const stage = await stageWith(t);
    const tenant = `${stage.folder}/policies/tenants/tenant-a.yaml`;
    const { readFile, writeFile } = await import('node:fs/promises');
    const text = (await readFile(tenant, 'utf8')).replace(
      'file: keys.json',
      `jwks: 'http://127.0.0.1:${port}/jwks', refresh: 1s`,
    );
    await writeFile(tenant, text);
    t.same((await stage.gateway.reload()).faults, []);
    t.ok(await until(async () => requests === 1), 'the keys are fetched before anybody asks');
    const token = await tokens.sign({ iss: 'https://auth.test', aud: 'weights', sub: 'w', scope: 'read' });
    t.match(await ask(stage, token), /^HTTP\/1\.1 200 /);
    isDown = true;
    const before = requests;
    await writeFile(tenant, `# again\n${text}`);
    t.same((await stage.gateway.reload()).faults, []);
    t.match(await ask(stage, token), /^HTTP\/1\.1 200 /, 'a reload keeps the keys');
    t.ok(await until(async () => requests > before), 'the issuer is asked again');
    await sleep(50);
    t.match(
      await ask(
        stage,
        await tokens.sign({ iss: 'https://auth.test', aud: 'weights', sub: 'x', scope: 'read' }),
      ),
      /^HTTP\/1\.1 200 /,
    );
    const metrics = await (await fetch(`${stage.admin}/metrics`)).text();
    t.match(metrics, /patchgate_jwks_fetches_total\{issuer="main",outcome="failed"\} [1-9]/);
    await writeFile(tenant, text.replace(/jwks: '[^']*', refresh: 1s/, 'file: keys.json'));
    t.same((await stage.gateway.reload()).faults, []);
    const ended = requests;
    await sleep(1200);
    t.equal(requests, ended, 'keys that no policy names are not fetched any more');
  },
);
