/** Plays every conversation in `*.md` over real sockets: a caller over TLS, the gateway, a node that follows the text. */
import { readdirSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { type Stage, setStage, sleep } from '../path/stage.ts';
import { GATEWAY, ROUTES, UPSTREAM } from './setting.ts';
import { readTranscripts, type Step, type Transcript } from './transcript.ts';

/** Fields that the gateway writes itself, which have their own tests (DESIGN §6). */
const OWN_FIELDS =
  /^(?:X-Forwarded-(?:For|Proto|Host)|X-Real-IP|Forwarded|X-Request-Id|traceparent|Client-Cert|Patchgate-[A-Za-z]+): [^\r]*\r\n/gm;
const DATE = /^Date: [^\r]*\r\n/gm;
const PROBLEM = /HTTP\/1\.1 (\d{3}) [^\r]*\r\n(?:[^\r]+\r\n)*\r\n(?:\{[^\n]*"code":"([a-z-]+)"\}\n)/g;
const GIVE_UP_MS = 3000;
/** Time for unexpected bytes to arrive. */
const GRACE_MS = 15;

/** One side of the gateway, with what it has heard and not been asked about yet. */
class Side {
  readonly #tidy: (text: string) => string;
  #heard = '';
  #ended: Step['ending'] = 'open';
  #socket: Socket | undefined;

  constructor(tidy: (text: string) => string) {
    this.#tidy = tidy;
  }

  get heard(): string {
    return this.#tidy(this.#heard);
  }

  get ended(): Step['ending'] {
    return this.#ended;
  }

  listen(socket: Socket): void {
    socket.on('data', (piece: Buffer) => {
      this.#socket = socket;
      this.#ended = 'open';
      this.#heard += piece.toString('latin1');
    });
    socket.on('end', () => {
      this.#ended = 'closed';
    });
    socket.on('error', () => {
      this.#ended = 'reset';
    });
    this.#socket ??= socket;
  }

  say({ bytes, ending }: Step): void {
    const socket = this.#socket;
    if (bytes !== '') socket?.write(Buffer.from(bytes, 'latin1'));
    if (ending === 'closed') socket?.end();
    if (ending === 'reset') socket?.resetAndDestroy();
  }

  /** Waits for exactly this and removes it. */
  async hear({ bytes, ending }: Step): Promise<string> {
    const expected = told(bytes, ending);
    const until = Date.now() + GIVE_UP_MS;
    while (told(this.heard, ending === 'open' ? 'open' : this.#ended) !== expected && Date.now() < until) {
      await sleep(1);
    }
    const heard = told(this.heard, ending === 'open' ? 'open' : this.#ended);
    this.#heard = '';
    if (ending !== 'open') this.#ended = 'open';
    return heard;
  }

  /** What came although nothing should. */
  rest(): string {
    return told(this.heard, this.#ended);
  }
}

function told(bytes: string, ending: Step['ending']): string {
  return ending === 'open' ? bytes : `${bytes}(${ending})`;
}

/** Shortens a refusal to `400 bad-request`. */
function tidyAnswer(text: string): string {
  return text.replaceAll(PROBLEM, '$1 $2\r\n').replaceAll(DATE, '');
}

interface Node {
  readonly address: string;
  /** Plays for one transcript, after closing every connection of the last. */
  begin(): Promise<Side>;
}

async function startNode(t: Test): Promise<Node> {
  const sockets = new Set<Socket>();
  let side = new Side(String);
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    side.listen(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const closeAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  t.teardown(() => {
    closeAll();
    server.close();
  });
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    begin: async () => {
      closeAll();
      await sleep(5);
      side = new Side((text) => text.replaceAll(OWN_FIELDS, ''));
      return side;
    },
  };
}

async function play(t: Test, stage: Stage, node: Node, transcript: Transcript): Promise<void> {
  const upstream = await node.begin();
  const socket: TLSSocket = await stage.connect();
  const caller = new Side(tidyAnswer);
  caller.listen(socket);
  for (const step of transcript.steps) {
    if (step.direction === '>>') caller.say(step);
    else if (step.direction === '<-') upstream.say(step);
    else if (step.direction === '->')
      t.equal(
        await upstream.hear(step),
        told(step.bytes, step.ending),
        'the node hears what the transcript says',
      );
    else
      t.equal(
        await caller.hear(step),
        told(step.bytes, step.ending),
        'the caller hears what the transcript says',
      );
  }
  await sleep(GRACE_MS);
  const nodeMayEnd = transcript.steps.some(({ direction }) => direction === '->');
  t.equal(nodeMayEnd ? upstream.heard : upstream.rest(), '', 'the node hears nothing more');
  t.equal(caller.rest(), '', 'the caller hears nothing more');
  socket.destroy();
}

const folder = new URL('.', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.md') && name !== 'README.md');

t.test('every transcript happens as written', async (t) => {
  const node = await startNode(t);
  const stage = await setStage(t, {
    nodes: [node.address],
    routes: ROUTES,
    gateway: GATEWAY,
    upstream: UPSTREAM,
  });
  for (const file of files) {
    await t.test(`every conversation of ${file} happens as written`, async (t) => {
      for (const transcript of readTranscripts(file, readFileSync(new URL(file, folder), 'utf8'))) {
        await t.test(`${transcript.title} (${file}:${transcript.line})`, (t) =>
          play(t, stage, node, transcript),
        );
      }
    });
  }
});
