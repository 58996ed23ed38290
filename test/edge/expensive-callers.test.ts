/** Who shows a chain that is far too large, and that nobody has signed, begins no handshake for a while. */
import type { ConnectionOptions } from 'node:tls';
import t from 'tap';
import { addressOf } from '../../gateway/core/address.ts';
import { ExpensiveCallers } from '../../gateway/edge/expensive-callers.ts';
import { exchange, HOST, isWhole, rawNode, setStage } from '../path/stage.ts';
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

t.test('an address that is shut out begins nothing for a minute, and what it has begun ends', async (t) => {
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

t.test('a handshake that ends by it may say so itself', async (t) => {
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

t.test('over sockets: its other callers there and then go on, those of other addresses too', async (t) => {
  const node = await rawNode(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  const stage = await setStage(t, { nodes: [node.address] });
  const served = async (localAddress: string): Promise<boolean> => {
    const options: ConnectionOptions & { localAddress: string } = { localAddress };
    const socket = await stage.connect(options).catch(() => undefined);
    if (socket === undefined) return false;
    const answer = await exchange(socket, GET, isWhole).catch(() => '');
    socket.destroy();
    return answer.startsWith('HTTP/1.1 200 ');
  };
  const before = await stage.connect();
  t.ok(await served('127.0.0.1'));
  const stranger = await createTestAuthority('stranger');
  const leaves = await Promise.all(Array.from({ length: 12 }, (_, k) => stranger.leaf(`leaf ${k}`)));
  const [first] = leaves;
  const cert = leaves.map(({ certPem }) => certPem).join('\n');
  const large = await stage.connect({ cert, key: first?.keyPem }).catch(() => undefined);
  if (large !== undefined) t.equal(await exchange(large, GET, isWhole).catch(() => ''), '');
  t.notOk(await served('127.0.0.1'));
  t.ok(await served('127.0.0.2'));
  t.match(await exchange(before, GET, isWhole), /^HTTP\/1\.1 200 /);
  before.destroy();
  const metrics = await (await fetch(`${stage.admin}/metrics`)).text();
  t.match(metrics, /outcome="certificate-denied"\} 1\n/);
  t.match(metrics, /outcome="over-limit"\} 1\n/);
});
