/** The caller's end: calls one at a time and in order, back-pressure, deadlines, a lingering close. */
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { addressOf } from '../../gateway/core/address.ts';
import { Deadlines } from '../../gateway/core/deadlines.ts';
import { type Denial, isDenial } from '../../gateway/core/denial.ts';
import type { ConnectionFacts, RequestHead } from '../../gateway/core/facts.ts';
import { CallerConnection } from '../../gateway/edge/caller-connection.ts';
import { Llhttp } from '../../gateway/http1/llhttp.ts';

const facts: ConnectionFacts = {
  listener: 'edge',
  serverName: 'a.test',
  peer: addressOf(4, [0x7f000001]),
  peerPort: 1,
  certificate: { status: 'absent' },
  tlsVersion: 'TLSv1.3',
  tlsResumed: false,
};
const timeouts = { headMs: 200, keepAliveIdleMs: 300, streamIdleMs: 400, lingerMs: 200 };

type Handle = (caller: CallerConnection, head: RequestHead | Denial) => void;

interface Harness {
  readonly port: number;
  readonly closed: () => number;
}

/** On a clock that runs. */
async function serve(t: Test, handle: Handle): Promise<Harness> {
  const deadlines = new Deadlines(performance.now());
  const sweep = setInterval(() => deadlines.sweep(performance.now()), 20);
  t.teardown(() => clearInterval(sweep));
  return serveBy(t, deadlines, handle);
}

async function serveBy(t: Test, deadlines: Deadlines, handle: Handle): Promise<Harness> {
  const llhttp = new Llhttp();
  let closed = 0;
  const server = net.createServer((socket) => {
    new CallerConnection(
      socket,
      socket,
      { facts, under: () => facts },
      {
        llhttp,
        deadlines,
        limits: { headBytes: 4096, headFields: 20 },
        timeouts,
        handle,
        onClosed: () => {
          closed += 1;
        },
      },
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, closed: () => closed };
}

/** Everything the server sends until it closes, or until `done` says it is enough. */
function talk(
  port: number,
  send: (socket: Socket) => void,
  done?: (text: string) => boolean,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => send(socket));
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (done?.(text)) socket.destroy();
    });
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
  });
}

/** The server hears of a closed connection a little after its peer does. */
async function settled(closed: () => number): Promise<number> {
  for (let turns = 0; closed() === 0 && turns < 200; turns += 1)
    await new Promise((resolve) => setTimeout(resolve, 10));
  return closed();
}

const ignore = {
  unsentBytes: 0,
  onRoom: () => undefined,
  onCut: () => undefined,
  onCallerDrain: () => undefined,
  onBadBody: () => undefined,
  onCallerGone: () => undefined,
};

const answer = (body: string): string => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** Reads the body, then echoes it with the path. */
const echo: Handle = (caller, head) => {
  if (isDenial(head)) {
    caller.write(`HTTP/1.1 ${head.status ?? 400} No\r\n\r\n`);
    caller.finish(false);
    return;
  }
  caller.attach(ignore);
  let body = '';
  const finish = (): void => {
    caller.write(answer(`${head.path}:${body}`));
    caller.finish(head.keepAlive);
  };
  if (caller.bodyDone) {
    finish();
    return;
  }
  caller.readBody({
    onBody: (bytes) => {
      body += bytes.toString('latin1');
    },
    onBodyEnd: finish,
  });
};

t.test(
  'pipelined requests are answered in order, with and without bodies, however they are cut',
  async (t) => {
    const { port } = await serve(t, echo);
    const requests =
      'GET /1 HTTP/1.1\r\nHost: a\r\n\r\n' +
      'PUT /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc' +
      'PUT /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n' +
      'GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n';
    const expected = answer('/1:') + answer('/2:abc') + answer('/3:de') + answer('/4:');
    t.equal(await talk(port, (socket) => socket.write(requests)), expected, 'in one piece');
    const cut = await talk(port, (socket) => {
      socket.setNoDelay(true);
      for (const byte of requests) socket.write(byte);
    });
    t.equal(cut, expected, 'byte by byte');
  },
);

t.test('answers given later keep the order of the requests', async (t) => {
  const { port } = await serve(t, (caller, head) => {
    setTimeout(() => echo(caller, head), isDenial(head) || head.path === '/slow' ? 50 : 0);
  });
  const requests = ['/slow', '/quick', '/slow', '/last'].map(
    (path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`,
  );
  const text = await talk(
    port,
    (socket) => socket.write(requests.join('')),
    (text) => text.includes('/last'),
  );
  t.same(text.match(/\/\w+:/g), ['/slow:', '/quick:', '/slow:', '/last:']);
});

t.test('a head that cannot be one is answered and the connection closed', async (t) => {
  const { port } = await serve(t, echo);
  const text = await talk(port, (socket) => socket.write('GET / HTTP/1.1\r\nBad Name: x\r\n\r\nGET /never'));
  t.equal(text, 'HTTP/1.1 400 No\r\n\r\n');
});

t.test('a head that stops half-way is answered 408, one that never begins is closed', async (t) => {
  const { port } = await serve(t, (caller, head) => {
    if (!isDenial(head)) throw new Error('no head was whole');
    caller.write(`${head.code}`);
    caller.finish(false);
  });
  t.equal(await talk(port, (socket) => socket.write('GET / HT')), 'head-timeout');
  t.equal(await talk(port, () => undefined), '');
});

t.test('a kept connection is closed when nothing more comes', async (t) => {
  const { port, closed } = await serve(t, echo);
  const text = await talk(port, (socket) => socket.write('GET /1 HTTP/1.1\r\nHost: a\r\n\r\n'));
  t.equal(text, answer('/1:'));
  t.equal(await settled(closed), 1);
});

t.test('a body nobody reads stops flowing, and flows on when it is read', async (t) => {
  let caller: CallerConnection | undefined;
  let bytes = 0;
  const { port } = await serve(t, (connection) => {
    connection.attach(ignore);
    caller = connection;
  });
  const total = 16 << 20;
  const done = talk(port, (socket) => {
    socket.write(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${total}\r\n\r\n`);
    socket.write(Buffer.alloc(total));
    setTimeout(() => t.ok(socket.writableLength > 1 << 20, 'the sender feels the back-pressure'), 100);
  });
  await new Promise((resolve) => setTimeout(resolve, 150));
  t.equal(bytes, 0);
  caller?.readBody({
    onBody: (view) => {
      bytes += view.length;
      caller?.pauseBody();
      setTimeout(() => caller?.resumeBody(), bytes % 3);
    },
    onBodyEnd: () => {
      caller?.write('done');
      caller?.finish(false);
    },
  });
  t.equal(await done, 'done');
  t.equal(bytes, total);
});

t.test(
  'an early answer reaches a caller that is still sending, within the bounds of the linger',
  async (t) => {
    const { port, closed } = await serve(t, (caller) => {
      caller.write('no');
      caller.finish(false);
    });
    const text = await talk(port, (socket) => {
      socket.write('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n');
      socket.write(Buffer.alloc(400_000));
    });
    t.equal(text, 'no');
    t.equal(await settled(closed), 1);
  },
);

t.test('small pieces of an answer are one write, and stand before its end', async (t) => {
  const pieces = Array.from({ length: 2000 }, (_, index) => `${index};`);
  const { port } = await serve(t, (caller) => {
    for (const [index, piece] of pieces.entries())
      caller.write(index % 500 === 499 ? Buffer.from(piece) : piece);
    caller.finish(false);
  });
  let reads = 0;
  const text = await talk(port, (socket) => {
    socket.on('data', () => {
      reads += 1;
    });
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  });
  t.equal(text, pieces.join(''));
  t.ok(reads < 20, `${reads} reads`);
});

t.test('broken framing and a caller that leaves are told apart', async (t) => {
  const told: string[] = [];
  const { port } = await serve(t, (caller) => {
    caller.attach({
      ...ignore,
      onBadBody: (reason) => {
        told.push(reason);
        caller.write('bad');
        caller.finish(true);
      },
      onCallerGone: () => told.push('gone'),
    });
    caller.readBody({ onBody: () => undefined, onBodyEnd: () => told.push('end') });
  });
  const head = 'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
  t.equal(await talk(port, (socket) => socket.write(`${head}xyz`)), 'bad');
  t.equal(await talk(port, (socket) => socket.write(`${head}zzzzzzzz`)), 'bad', 'and not reused');
  await talk(port, (socket) => {
    socket.write(`${head}5\r\nhe`);
    setTimeout(() => socket.destroy(), 30);
  });
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.same(told, ['a chunk size is missing', 'a chunk size is missing', 'gone']);
});

t.test('a connection that is closing can be broken off, and is closed then', async (t) => {
  const { port, closed } = await serve(t, (caller) => {
    caller.write(answer('whole'));
    caller.finish(false);
    caller.abort();
  });
  await talk(port, (socket) => socket.write('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n')).catch(() => '');
  t.equal(await settled(closed), 1);
});

const LARGE_BYTES = 64 * 2 ** 20;

/** A caller that has been given a large answer, and takes none of it for now. */
async function giveMuch(t: Test, deadlines: Deadlines) {
  const given = Promise.withResolvers<CallerConnection>();
  const { port, closed } = await serveBy(t, deadlines, (caller) => {
    caller.attach(ignore);
    caller.write(Buffer.alloc(LARGE_BYTES));
    caller.finish(true);
    given.resolve(caller);
  });
  const socket = net.connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n'));
  socket.pause();
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  const caller = await given.promise;
  return { caller, socket, closed };
}

async function untilTaken(caller: CallerConnection): Promise<void> {
  while (caller.unsentBytes > 0) await new Promise((resolve) => setTimeout(resolve, 5));
}

t.test('a caller is idle from when it has taken its answer', async (t) => {
  const deadlines = new Deadlines(0);
  const { caller, socket, closed } = await giveMuch(t, deadlines);
  deadlines.sweep(timeouts.keepAliveIdleMs);
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  socket.resume();
  await untilTaken(caller);
  deadlines.sweep(2 * timeouts.keepAliveIdleMs - 1);
  while (bytes < LARGE_BYTES) await once(socket, 'data');
  t.equal(closed(), 0);
  deadlines.sweep(2 * timeouts.keepAliveIdleMs);
  t.equal(await settled(closed), 1);
  t.equal(bytes, LARGE_BYTES);
});

t.test('one that takes nothing more of its answer is waited for as in any stream', async (t) => {
  const deadlines = new Deadlines(0);
  const { caller, closed } = await giveMuch(t, deadlines);
  t.ok(caller.unsentBytes > 0);
  deadlines.sweep(timeouts.keepAliveIdleMs);
  t.equal(deadlines.size, 1);
  deadlines.sweep(timeouts.keepAliveIdleMs + timeouts.streamIdleMs - 1);
  t.equal(deadlines.size, 1);
  deadlines.sweep(timeouts.keepAliveIdleMs + timeouts.streamIdleMs);
  t.equal(deadlines.size, 0);
  t.equal(await settled(closed), 1);
});
