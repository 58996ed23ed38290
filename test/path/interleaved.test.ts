/** Among thousands of requests over few connections to misbehaving nodes, each gets its own answer or none. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import { SeededRandom } from '../patch/seeded-random.ts';
import { exchange, HOST, rawNode, type Stage, setStage } from './stage.ts';

const POISON = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison';
const CALLERS = 16;
const REQUESTS_EACH = 150;

const whole = (body: string, fields = ''): string =>
  `HTTP/1.1 200 OK\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`;

/** What a node may do with a request; `good` answers reach their caller completely. */
const behaviours: readonly { readonly good: boolean; act(socket: Socket, body: string): void }[] = [
  { good: true, act: (socket, body) => socket.write(whole(body)) },
  {
    good: true,
    act: (socket, body) => {
      socket.write(whole(body).slice(0, 20));
      setTimeout(() => socket.write(whole(body).slice(20)), 2);
    },
  },
  {
    good: true,
    act: (socket, body) => {
      const chunks = [...body].map((each) => `1;x=y\r\n${each}\r\n`).join('');
      socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\nX: y\r\n\r\n`);
    },
  },
  { good: true, act: (socket, body) => socket.write(`HTTP/1.1 103 Early Hints\r\n\r\n${whole(body)}`) },
  { good: true, act: (socket, body) => socket.end(whole(body, 'Connection: close\r\n')) },
  { good: true, act: (socket, body) => socket.end(`HTTP/1.1 200 OK\r\n\r\n${body}`) },
  { good: false, act: (socket, body) => socket.write(whole(body) + POISON) },
  { good: false, act: (socket) => socket.write(`HTTP/1.1 204 No Content\r\n\r\n${POISON}`) },
  { good: false, act: (socket, body) => socket.write(whole(body, 'Content-Length: 6\r\n') + POISON) },
  { good: false, act: (socket) => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\ncut`) },
  {
    good: false,
    act: (socket) => socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ncut`),
  },
  { good: false, act: (socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n') },
];

/** Mostly well-behaved, chosen by the path itself, so that caller and node agree. */
function behaviourOf(path: string): (typeof behaviours)[number] {
  const random = new SeededRandom(Number(/\d+$/.exec(path)?.[0] ?? 0) + 1);
  const good = behaviours.filter((each) => each.good);
  const among = random.next() < 0.8 ? good : behaviours;
  return among[random.below(among.length)] ?? { good: true, act: () => undefined };
}

const ended = (path: string) => (text: string) =>
  text.endsWith(`\r\n\r\n${path}`) || text.endsWith('0\r\n\r\n') || text.endsWith('}\n');

/** Sends the requests of one caller in turn, on a new connection whenever the last one broke. */
async function ask(
  stage: Stage,
  caller: number,
  onAnswer: (path: string, text: string) => void,
): Promise<void> {
  let socket: TLSSocket | undefined;
  for (let turn = 0; turn < REQUESTS_EACH; turn++) {
    const path = `/open/${caller * REQUESTS_EACH + turn}`;
    socket = socket === undefined || socket.destroyed ? await stage.connect() : socket;
    const asked = `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
    onAnswer(path, await exchange(socket, asked, ended(path)));
    for (const event of ['close', 'error']) socket.removeAllListeners(event);
    socket.on('error', () => undefined);
  }
  socket?.destroy();
}

/** The content of an answer, whatever its framing. */
function content(text: string): string {
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const body = rest.join('\r\n\r\n');
  if (!head.includes('chunked')) return body;
  return [...body.matchAll(/[0-9a-f]+\r\n([^\r]*)\r\n/g)].map(([, piece = '']) => piece).join('');
}

t.test('each request gets its own answer, a 502 or a broken answer, but never that of another', async (t) => {
  const node = await rawNode(t, (socket, text) => {
    const path = [...text.matchAll(/GET (\S+)/g)].at(-1)?.[1] ?? '';
    if (!text.endsWith('\r\n\r\n')) return;
    const { good, act } = behaviourOf(path);
    act(socket, path);
    if (!good) setTimeout(() => socket.destroy(), 3);
  });
  const upstream = '    connections: { max: 6 }\n    breaker: { minimumRequests: 100000 }';
  const stage = await setStage(t, { nodes: [node.address], upstream });
  const tally = { own: 0, refused: 0, broken: 0 };
  const foreign: string[] = [];
  const onAnswer = (path: string, text: string): void => {
    const { good } = behaviourOf(path);
    if (text.startsWith('HTTP/1.1 200 ') && content(text) === path) tally.own += 1;
    else if (!good && text.startsWith('HTTP/1.1 502 ')) tally.refused += 1;
    else if (!good && ['', 'cut'].includes(content(text))) tally.broken += 1;
    else foreign.push(`${path}: ${text}`);
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, caller) => ask(stage, caller, onAnswer)));
  t.same(foreign, []);
  t.equal(tally.own + tally.refused + tally.broken, CALLERS * REQUESTS_EACH);
  t.ok(tally.own > 2000 && tally.refused > 50 && tally.broken > 20, JSON.stringify(tally));
});
