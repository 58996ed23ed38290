/** A caller that shows a far too large chain signed by nobody may begin no handshake for a while. */
import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import t, { type Test } from 'tap';
import { addressOf } from '../../gateway/core/address.ts';
import { ExpensiveCallers } from '../../gateway/edge/expensive-callers.ts';
import { exchange, HOST, isWhole, rawNode, setStage, sleep } from '../path/stage.ts';
import { createTestAuthority } from './authority.ts';

const GET = `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
const [one, other] = [addressOf(4, [0x7f000001]), addressOf(4, [0x7f000002])];

class Handshake {
  ended = 0;
  readonly #then: () => void;

  constructor(then: () => void = () => undefined) {
    this.#then = then;
  }

  shutOut(): void {
    this.ended += 1;
    this.#then();
  }
}

t.test('an address that is shut out has no handshakes for a minute', async (t) => {
  const callers = new ExpensiveCallers();
  const [done, running, apart] = [new Handshake(), new Handshake(), new Handshake()];
  t.ok(callers.begin(one, done, 0) && callers.begin(one, running, 0) && callers.begin(other, apart, 0));
  callers.end(one, done);
  callers.shutOut(one, 1000);
  t.same([done.ended, running.ended, apart.ended], [0, 1, 0]);
  t.notOk(callers.begin(one, new Handshake(), 60_999));
  t.ok(callers.begin(other, new Handshake(), 60_999));
  t.ok(callers.begin(one, new Handshake(), 61_000));
});

t.test('a handshake may report its own end while it is being shut out', async (t) => {
  const callers = new ExpensiveCallers();
  const handshakes = Array.from({ length: 3 }, (): Handshake => {
    const each: Handshake = new Handshake(() => callers.end(one, each));
    return each;
  });
  for (const each of handshakes) callers.begin(one, each, 0);
  callers.shutOut(one, 0);
  t.same(
    handshakes.map(({ ended }) => ended),
    [1, 1, 1],
  );
});

/** More than 16 KiB signed by nobody: the leaf and certificates that are not its issuers. */
async function largeChain(): Promise<{ readonly cert: string; readonly key: string }> {
  const stranger = await createTestAuthority('stranger');
  const names = [{ type: 'dns', value: `${'a'.repeat(60)}.`.repeat(4).slice(0, -1) }] as const;
  const leaves = await Promise.all(
    Array.from({ length: 40 }, (_, k) => stranger.leaf(`leaf ${k}`, { names: [...names] })),
  );
  const cert = [leaves[0]?.certPem, stranger.certPem, ...leaves.slice(1).map((each) => each.certPem)].join(
    '\n',
  );
  return { cert, key: leaves[0]?.keyPem ?? '' };
}

async function yard(t: Test, listener = '') {
  const node = await rawNode(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  const stage = await setStage(t, { nodes: [node.address], listener });
  const served = async (localAddress: string): Promise<boolean> => {
    const options: ConnectionOptions & { localAddress: string } = { localAddress };
    const socket = await stage.connect(options).catch(() => undefined);
    if (socket === undefined) return false;
    const answer = await exchange(socket, GET, isWhole).catch(() => '');
    socket.destroy();
    return answer.startsWith('HTTP/1.1 200 ');
  };
  const showLarge = async (): Promise<void> => {
    const large = await stage.connect(await largeChain()).catch(() => undefined);
    if (large !== undefined) t.equal(await exchange(large, GET, isWhole).catch(() => ''), '');
  };
  return { stage, served, showLarge };
}

t.test('an address that is shut out keeps its connections, and others are not affected', async (t) => {
  const { stage, served, showLarge } = await yard(t);
  const before = await stage.connect();
  t.ok(await served('127.0.0.1'));
  await showLarge();
  t.notOk(await served('127.0.0.1'));
  t.ok(await served('127.0.0.2'));
  t.match(await exchange(before, GET, isWhole), /^HTTP\/1\.1 200 /);
  before.destroy();
  const metrics = await (await fetch(`${stage.admin}/metrics`)).text();
  t.match(metrics, /outcome="certificate-denied"\} 1\n/);
  t.match(metrics, /outcome="over-limit"\} 1\n/);
});

t.test('a proxy that names no caller is not shut out for one of its callers', async (t) => {
  const { served, showLarge } = await yard(t, '      trustedProxies: [127.0.0.1/32]\n');
  await showLarge();
  t.ok(await served('127.0.0.1'));
});

t.test('an unfinished handshake with a large chain is shut out too', async (t) => {
  const { stage, served } = await yard(t);
  const { cert, key } = await largeChain();
  const line = await cutLine(t, stage.port);
  const socket = connect({ host: '127.0.0.1', port: line, servername: HOST, ca: stage.ca, cert, key });
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.on('close', resolve));
  while (!/outcome="failed"\} 1\n/.test(await (await fetch(`${stage.admin}/metrics`)).text()))
    await sleep(10);
  t.notOk(await served('127.0.0.1'));
});

/** The port of a line to the gateway that spoils the last bytes of the second flight of the caller. */
async function cutLine(t: Test, port: number): Promise<number> {
  const server = createServer((caller) => {
    const gateway = dial(port, '127.0.0.1');
    let bytes = 0;
    caller.on('error', () => undefined).on('close', () => gateway.destroy());
    gateway.on('error', () => undefined).on('close', () => caller.destroy());
    gateway.pipe(caller);
    caller.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      // This is far behind the hello; no record from here on can be decrypted.
      if (bytes > 20_000) chunk.fill(0, chunk.length - 8);
      gateway.write(chunk);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => {
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
