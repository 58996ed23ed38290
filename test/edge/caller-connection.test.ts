import net, { type Socket } from 'node:net';
import t from 'tap';
import { isDenial } from '../../gateway/core/denial.ts';
import { MIB } from '../../gateway/core/units.ts';
import type { CallerConnection } from '../../gateway/edge/caller-connection.ts';
import { type Handle, ignore, serve, settled } from './caller-stage.ts';

/** Everything the server sends until it closes, or until `done` says that it is enough. */
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
    t.equal(
      await talk(port, (socket) => socket.write(requests)),
      expected,
      'requests in one piece are answered in order',
    );
    const cut = await talk(port, (socket) => {
      socket.setNoDelay(true);
      for (const byte of requests) socket.write(byte);
    });
    t.equal(cut, expected, 'requests sent byte by byte are answered in order');
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

t.test('a malformed head is answered, and the connection is closed', async (t) => {
  const { port } = await serve(t, echo);
  const text = await talk(port, (socket) => socket.write('GET / HTTP/1.1\r\nBad Name: x\r\n\r\nGET /never'));
  t.equal(text, 'HTTP/1.1 400 No\r\n\r\n');
});

t.test('an unfinished head is answered with 408, and a silent connection is closed', async (t) => {
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

t.test('a body nobody reads stops flowing until it is read', async (t) => {
  let caller: CallerConnection | undefined;
  let bytes = 0;
  const { port } = await serve(t, (connection) => {
    connection.attach(ignore);
    caller = connection;
  });
  const total = 16 * MIB;
  const done = talk(port, (socket) => {
    socket.write(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${total}\r\n\r\n`);
    socket.write(Buffer.alloc(total));
    setTimeout(() => t.ok(socket.writableLength > MIB, 'the sender feels the back-pressure'), 100);
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

t.test('small pieces of an answer become one write and come before its end', async (t) => {
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
  t.ok(reads < 20, `the answer arrived in ${reads} reads`);
});

t.test('answers to requests that arrive together are one write, and wait for no later answer', async (t) => {
  const { port, writes } = await serve(t, (caller, head) => {
    if (!isDenial(head) && head.path !== '/never') echo(caller, head);
  });
  const paths = Array.from({ length: 50 }, (_, index) => `/${index}`);
  const requests = [...paths, '/never'].map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
  const text = await talk(
    port,
    (socket) => socket.write(requests.join('')),
    (text) => text.includes('/49:'),
  );
  t.equal(text, paths.map((path) => answer(`${path}:`)).join(''));
  t.equal(writes(), 1);
});

t.test('broken framing and a caller that leaves are distinguished', async (t) => {
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
  t.equal(
    await talk(port, (socket) => socket.write(`${head}zzzzzzzz`)),
    'bad',
    'a connection with broken framing is not reused',
  );
  await talk(port, (socket) => {
    socket.write(`${head}5\r\nhe`);
    setTimeout(() => socket.destroy(), 30);
  });
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.same(told, ['a chunk size is missing', 'a chunk size is missing', 'gone']);
});

t.test('a closing connection can still be broken off', async (t) => {
  const { port, closed } = await serve(t, (caller) => {
    caller.write(answer('whole'));
    caller.finish(false);
    caller.abort();
  });
  await talk(port, (socket) => socket.write('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n')).catch(() => '');
  t.equal(await settled(closed), 1);
});
