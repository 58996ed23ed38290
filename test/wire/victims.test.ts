/**
 * Each request of the transcripts is followed by one of another caller on the same connection to the node, which reads
 * with its own parser: it hears only the admitted requests, and the other caller gets its own answer.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { exchange, HOST, type Stage, setStage, sleep } from '../path/stage.ts';
import { GATEWAY, ROUTES } from './setting.ts';
import { readTranscripts, type Transcript } from './transcript.ts';

const QUIET_MS = 40;
const GIVE_UP_MS = 3000;

interface ParsingNode {
  readonly address: string;
  /** Method and target of each request, in order. */
  readonly heard: string[];
  /** Bytes that were not a request. */
  readonly faults: string[];
}

/** Answers with the target that it read. */
async function parsingNode(t: Test): Promise<ParsingNode> {
  const heard: string[] = [];
  const faults: string[] = [];
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    heard.push(`${request.method} ${request.url}`);
    request.resume();
    request.on('end', () => {
      const body = request.url ?? '';
      response.writeHead(200, { 'Content-Length': Buffer.byteLength(body) }).end(body);
    });
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code !== 'ECONNRESET') faults.push(error.message);
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, heard, faults };
}

/** What the caller of the transcript sends, and what of it the node may hear. */
function attackOf({ steps }: Transcript): { readonly bytes: string; readonly admitted: readonly string[] } {
  const said = steps.filter(({ direction }) => direction === '>>').map((step) => step.bytes);
  const heard = steps.filter(({ direction }) => direction === '->').map((step) => step.bytes);
  const starts = heard.flatMap((bytes) => /^([A-Z]+ \S+) HTTP\/1\.1\r\n/.exec(bytes)?.[1] ?? []);
  return { bytes: said.join(''), admitted: starts };
}

/** Sends all at once; resolves when the gateway closes, or after a silence once everything allowed was heard. */
async function attack(stage: Stage, bytes: string, isHeard: () => boolean): Promise<void> {
  const socket = await stage.connect();
  let isOpen = true;
  let heardAt = performance.now();
  socket.on('data', () => {
    heardAt = performance.now();
  });
  socket.on('end', () => {
    isOpen = false;
  });
  socket.on('error', () => {
    isOpen = false;
  });
  socket.write(Buffer.from(bytes, 'latin1'));
  const giveUpAt = performance.now() + GIVE_UP_MS;
  while (isOpen && performance.now() < giveUpAt) {
    if (isHeard() && performance.now() - heardAt > QUIET_MS) break;
    await sleep(1);
  }
  socket.destroy();
}

const FILES = ['smuggling', 'chunked', 'fields', 'host', 'keep-alive', 'request-line'].map(
  (name) => `${name}.md`,
);
const folder = new URL('.', import.meta.url);

t.test('every transcript of requests is among these files', async (t) => {
  const all = readdirSync(folder).filter((name) => name.endsWith('.md'));
  t.same(all.filter((name) => !FILES.includes(name)).sort(), ['README.md', 'responses.md']);
});

t.test('whatever one caller sends, the next one on the same connection gets its own answer', async (t) => {
  const node = await parsingNode(t);
  const stage = await setStage(t, {
    nodes: [node.address],
    routes: ROUTES,
    upstream: '    connections: { max: 1 }',
    gateway: GATEWAY,
  });
  const victim: TLSSocket = await stage.connect();
  for (const file of FILES) {
    for (const transcript of readTranscripts(file, readFileSync(new URL(file, folder), 'utf8'))) {
      const place = `${transcript.title} (${file}:${transcript.line})`;
      const own = `/open/own-${transcript.line}`;
      const { bytes, admitted } = attackOf(transcript);
      node.heard.length = 0;
      await attack(stage, bytes, () => node.heard.length >= admitted.length);
      const answer = await exchange(victim, `GET ${own} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, (text) =>
        text.includes(own),
      );
      t.match(answer, new RegExp(`^HTTP/1\\.1 200 OK\\r\\n(?:[^\\r]+\\r\\n)+\\r\\n${own}$`), place);
      t.same(node.heard, [...admitted, `GET ${own}`], place);
    }
  }
  t.same(node.faults, [], 'the node never read anything but requests');
  victim.destroy();
});
