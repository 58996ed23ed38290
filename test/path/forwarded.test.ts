/** `patchgate_forwarded_bytes_total` tells bytes forwarded in place from bytes that were copied first. */
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import { exchange, HOST, rawNode, readPaths, type Stage, setStage, sleep } from './stage.ts';

interface Counted {
  readonly passed: number;
  readonly copied: number;
}

async function counted({ admin }: Stage): Promise<Counted> {
  const text = await (await fetch(`${admin}/metrics`)).text();
  const of = (path: string): number =>
    Number(
      new RegExp(`^patchgate_forwarded_bytes_total\\{path="${path}"\\} (\\d+)$`, 'm').exec(text)?.[1] ?? 0,
    );
  return { passed: of('passed'), copied: of('copied') };
}

const ANSWERED = 'HTTP/1.1 204 No Content\r\n\r\n';
const hasAnswer = (text: string): boolean => text.endsWith('\r\n\r\n');
const head = (framing: string): string => `PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\n${framing}\r\n\r\n`;

/** Sends the head, and the body once the node has the head. */
async function putLater(socket: TLSSocket, framing: string, body: string): Promise<void> {
  socket.write(head(framing));
  await sleep(50);
  await exchange(socket, body, hasAnswer);
}

const cut = 'x'.repeat(40_000);

for (const { how, readsInPlace } of readPaths) {
  t.test(`bytes that were moved on their way count as copied, all others as passed (${how})`, async (t) => {
    const node = await rawNode(t, (socket, text) => {
      if (text.endsWith('0\r\n\r\n') || text.endsWith('!')) socket.write(ANSWERED);
      const asked = text.slice(text.lastIndexOf('GET '));
      if (asked.startsWith('GET /open/down'))
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n${cut}`);
      if (asked.startsWith('GET /open/little'))
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello');
    });
    const stage = await setStage(t, { readsInPlace, nodes: [node.address] });
    const socket = await stage.connect();
    let before: Counted = { passed: 0, copied: 0 };
    const adds = async (expected: Counted, what: string): Promise<void> => {
      const { passed, copied } = await counted(stage);
      t.same({ passed: passed - before.passed, copied: copied - before.copied }, expected, what);
      before = { passed, copied };
    };

    await putLater(socket, 'Content-Length: 40001', `${cut}!`);
    await adds(
      readsInPlace ? { passed: 23_617, copied: 16_384 } : { passed: 40_001, copied: 0 },
      'the first record waits elsewhere while the node is being connected',
    );

    await putLater(socket, 'Content-Length: 40001', `${cut}!`);
    await adds({ passed: 40_001, copied: 0 }, 'a body whose node is connected passes');

    await exchange(socket, `${head('Content-Length: 6')}hello!`, hasAnswer);
    await adds(
      readsInPlace ? { passed: 0, copied: 6 } : { passed: 6, copied: 0 },
      'a body right behind its head is copied only if read in place',
    );

    await putLater(
      socket,
      'Transfer-Encoding: chunked',
      `5\r\nhello\r\n200\r\n${'y'.repeat(512)}\r\n0\r\n\r\n`,
    );
    await adds({ passed: 512, copied: 5 }, 'a small chunk is copied and a large one passes');

    await exchange(socket, `GET /open/down HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, (text) => text.endsWith(cut));
    await adds({ passed: 40_000, copied: 0 }, 'a download passes');

    await exchange(socket, `GET /open/little HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, (text) =>
      text.endsWith('hello'),
    );
    await adds({ passed: 0, copied: 5 }, 'a small answer is copied, since it leaves with its head');

    await exchange(socket, `GET /nowhere HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, (text) => text.endsWith('}\n'));
    await adds({ passed: 0, copied: 0 }, 'a refusal counts as neither');
    socket.destroy();
  });
}
