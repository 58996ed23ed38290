/** The audit log of a gateway that is killed under load, and the command that verifies it. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { writtenLog } from '../audit/written.ts';
import { exchange, isWhole, rawNode, secure } from '../path/stage.ts';
import { runHere } from './here.ts';
import { ports, run, start, writePolicy } from './process.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const ROUTES = `  - name: publish
    match: { methods: [POST], path: '/v1/models/{model_id}/versions/{version}' }
    require: { scope: publish }
    upstream: sync
`;

t.test(
  'after a kill at any moment, every request that was answered or reached the node is in the log',
  async (t) => {
    const reached = new Set<string>();
    const node = await rawNode(t, (socket, text) => {
      for (const [, id = ''] of text.matchAll(/x-request-id: (\S+)\r\n/gi)) reached.add(id);
      socket.write(OK);
    });
    const gateway = '  audit: { file: ../audit.jsonl, rotateAt: 100KiB }';
    const { folder, caller, tokens } = await writePolicy(t, node.address, gateway, { routes: ROUTES });
    const token = await tokens.sign({ iss: 'https://auth.test', aud: 'weights', sub: 'w', scope: 'publish' });
    const file = join(folder, 'audit.jsonl');
    const answered = new Set<string>();
    let next = 0;
    for (let round = 0; round < 4; round++) {
      const running = start(t, ['serve', '--config', join(folder, 'policies')]);
      const { edge } = await ports(running);
      const callers = Array.from({ length: 8 }, async () => {
        const socket = await secure({ ...caller, port: edge, host: '127.0.0.1' });
        socket.on('error', () => undefined);
        while (!socket.destroyed) {
          const id = `r-${next++}`;
          const head = `POST /v1/models/vision/versions/7 HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer ${token}\r\n`;
          const answer = await exchange(
            socket,
            `${head}X-Request-Id: ${id}\r\nContent-Length: 0\r\n\r\n`,
            isWhole,
          );
          if (answer.startsWith('HTTP/1.1 200')) answered.add(id);
          if (answer === '') return;
        }
      });
      const enough = answered.size + 100 + round * 37;
      while (answered.size < enough) await new Promise((resolve) => setTimeout(resolve, 1));
      running.child.kill('SIGKILL');
      await running.ended;
      await Promise.all(callers);
    }
    const last = start(t, ['serve', '--config', join(folder, 'policies')]);
    await ports(last);
    last.child.kill('SIGTERM');
    t.equal(await last.ended, 0);
    const head = /"sequence":(\d+),"hash":"([0-9a-f]{64})","message":"the head of the audit log"/.exec(
      last.output.err,
    );
    t.ok(head, 'the ordinary log names the head of the chain');
    const names = (await readdir(folder)).filter(
      (name) => name.startsWith('audit.jsonl') && !name.includes('.torn.'),
    );
    const paths = names.map((name) => join(folder, name));
    const verified = await run(t, 'audit', 'verify', ...paths, '--expect-last', head?.[2] ?? '');
    t.match(verified, { status: 0, err: '' });
    const texts = await Promise.all(paths.map((path) => readFile(path, 'utf8')));
    const recorded = new Set(texts.join('').match(/(?<="request\.id":")r-\d+/g));
    t.same(
      [...reached].filter((id) => !recorded.has(id)),
      [],
      'everything that reached the node is in the log',
    );
    t.same(
      [...answered].filter((id) => !recorded.has(id)),
      [],
    );
    t.equal(texts.join('').match(/"event":"started"/g)?.length, 5);
    t.equal(
      texts.join('').match(/"event":"stopped"/g)?.length,
      1,
      'only the last of five gateways recorded an intended end',
    );
    t.comment(
      `${answered.size} answered, ${reached.size} reached the node, ${recorded.size} in ${paths.length} files`,
    );
    t.ok(paths.includes(file));
  },
);

t.test('audit verify says what is wrong and where, and where each chain ends', async (t) => {
  const path = await writtenLog(t, 5);
  const text = await readFile(path, 'utf8');
  const last = (JSON.parse(text.trimEnd().split('\n').at(-1) ?? '') as { readonly hash: string }).hash;
  const verify = (...args: readonly string[]) => runHere('audit', 'verify', ...args);
  t.match(await verify(path), {
    status: 0,
    out: new RegExp(`^chain [0-9a-f]{16}: 5 lines, 1 to 5\\n {2}ends with ${last}\\n$`),
  });
  t.match(await verify(path, '--expect-last', last, '--contains', last), { status: 0 });
  const other = 'a'.repeat(64);
  t.match(await verify(path, '--expect-last', other, '--expect-first', other, '--contains', other), {
    status: 1,
    err: `no line has the hash ${other}\nno chain begins with the hash ${other}\nno chain ends with the hash ${other}\n`,
  });
  await writeFile(path, text.replace('"r-3"', '"r-8"'));
  t.match(await run(t, 'audit', 'verify', path), {
    status: 1,
    err: `${path}:3: line is malformed or was changed after it was written\n${path}:4: line 4 of the chain: lines 3 to 3 are missing or invalid\n`,
  });
  t.match(await verify(), { status: 2, err: /missing FILE/ });
  t.match(await verify(join(path, 'none')), { status: 2, err: /ENOTDIR/ });
  t.match(await verify(path, '--contains', 'x'), { status: 2, err: /64 hexadecimal digits/ });
  t.match(await runHere('audit', 'write'), { status: 2, err: /expected subcommand verify, got write/ });
});
