/** An early answer reaches a caller that is still sending: real curl shows the answer and no reset. */

import { execFile } from 'node:child_process';
import { open, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { HOST, rawNode, type Stage, type StageOptions, setStage } from './stage.ts';

const run = promisify(execFile);
const GIB = 2 ** 30;

const hasCurl = await run('curl', ['--version']).then(
  () => true,
  () => false,
);

interface Shown {
  readonly status: string;
  readonly body: string;
  /** Exit status of curl: 0, or 55, 56 … for a broken connection. */
  readonly exit: number;
  readonly sentBytes: number;
}

type Curl = (path: string, token: string, ...more: readonly string[]) => Promise<Shown>;

/** curl as a worker would run it, and a file of a gibibyte that takes no space on the disk. */
async function curlOf(t: Test, stage: Stage): Promise<Curl> {
  const folder = t.testdir({});
  const file = join(folder, 'large');
  const handle = await open(file, 'w');
  await handle.truncate(GIB);
  await handle.close();
  await writeFile(join(folder, 'ca.pem'), stage.ca);
  await writeFile(join(folder, 'worker.pem'), stage.worker.certificatePem + stage.worker.privateKeyPem);
  return async (path, token, ...more) => {
    const args = [
      ...['--silent', '--show-error', '--http1.1', '--max-time', '60'],
      ...['--cacert', join(folder, 'ca.pem'), '--cert', join(folder, 'worker.pem')],
      ...['--resolve', `${HOST}:${stage.port}:127.0.0.1`, '--header', `Authorization: Bearer ${token}`],
      ...['--write-out', '\n%{http_code} %{size_upload}', '--upload-file', file, ...more],
      `https://${HOST}:${stage.port}${path}`,
    ];
    const { stdout, exit } = await run('curl', args).then(
      ({ stdout }) => ({ stdout, exit: 0 }),
      (error: { stdout: string; code: number }) => ({ stdout: error.stdout, exit: error.code }),
    );
    const lines = stdout.split('\n');
    const [status = '', sent = ''] = (lines.pop() ?? '').split(' ');
    return { status, body: lines.join('\n'), exit, sentBytes: Number(sent) };
  };
}

const ROUTES = `  - name: push
    match: { methods: [PUT], path: '/v1/{model_id}' }
    require: { scope: finetune }
    upstream: sync
`;

const stageFor = (t: Test, nodes: readonly string[], more: Partial<StageOptions> = {}): Promise<Stage> =>
  setStage(t, { nodes, routes: ROUTES, ...more });

/** How curl starts to send: by itself it waits for 100 Continue if the body is large. */
const ways: readonly (readonly [string, readonly string[]])[] = [
  ['with Expect: 100-continue', ['--header', 'Expect: 100-continue']],
  ['sending at once', ['--header', 'Expect:']],
  ['in chunks', ['--header', 'Expect:', '--header', 'Transfer-Encoding: chunked']],
];

for (const readsInPlace of [true, false]) {
  const how = readsInPlace ? 'read in place' : "by 'data' events";
  t.test(`curl -T of a gibibyte with a bad token shows the 401 (${how})`, { skip: !hasCurl }, async (t) => {
    const node = await rawNode(t, () => undefined);
    const stage = await stageFor(t, [node.address], { readsInPlace });
    const curl = await curlOf(t, stage);
    for (const [title, more] of ways) {
      for (let turn = 0; turn < 5; turn++) {
        const shown = await curl('/v1/vision', 'bad.bad.bad', ...more);
        t.match(shown, { status: '401', exit: 0 }, `curl ${title} shows the 401`);
        t.match(shown.body, '"code":"token-');
        t.ok(shown.sentBytes < 64 * MIB, `only ${shown.sentBytes} bytes were sent`);
      }
    }
    t.equal(node.received.length, 0);
  });
}

t.test(
  'a body that grows too large shows the 413, and one declared too large is not sent',
  { skip: !hasCurl },
  async (t) => {
    const node = await rawNode(t, () => undefined);
    const limited = ROUTES.replace('upstream: sync', 'stream: { maxBytes: 32MiB }\n    upstream: sync');
    const stage = await stageFor(t, [node.address], { routes: limited });
    const curl = await curlOf(t, stage);
    for (const [title, more] of ways) {
      const shown = await curl('/v1/vision', await stage.token(), ...more);
      t.match(shown, { status: '413', exit: 0 }, `curl ${title} shows the 413`);
      t.match(shown.body, '"code":"body-too-large"');
    }
    const expecting = await curl('/v1/vision', await stage.token(), '--header', 'Expect: 100-continue');
    t.equal(expecting.sentBytes, 0, 'not a byte is sent without 100 Continue');
  },
);

t.test(
  'a 409 of the node amid the upload is passed on, whatever it does next',
  { skip: !hasCurl },
  async (t) => {
    for (const next of ['reads on', 'closes'] as const) {
      const server = createServer((request, response) => {
        let received = 0;
        request.on('data', (piece: Buffer) => {
          received += piece.length;
          if (received < 8 * MIB || response.headersSent) return;
          response.writeHead(409, { 'Content-Length': 4, ...(next === 'closes' && { Connection: 'close' }) });
          response.end('gone');
        });
        request.on('error', () => undefined);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      t.teardown(() => {
        server.closeAllConnections();
        server.close();
      });
      const stage = await stageFor(t, [`127.0.0.1:${(server.address() as AddressInfo).port}`]);
      const curl = await curlOf(t, stage);
      for (const [title, more] of ways) {
        const shown = await curl('/v1/vision', await stage.token(), ...more);
        t.match(
          shown,
          { status: '409', body: 'gone', exit: 0 },
          `the 409 is shown when the node ${next} and curl is ${title}`,
        );
        t.ok(shown.sentBytes < GIB / 2, `only ${shown.sentBytes} bytes were sent`);
      }
    }
  },
);
