/** The vectors of llhttp: what its strict parser refuses never reaches a node, nor the caller as a whole answer. */
import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { HOST, rawNode, type Stage, setStage, sleep } from '../path/stage.ts';

interface Vector {
  readonly file: string;
  readonly line: number;
  readonly name: string;
  readonly meta: { readonly type?: string };
  readonly input_b64: string;
  readonly error: string | null;
  readonly messages_complete: number;
  readonly lenient: boolean;
}

const file = new URL('../../../shared/vectors/llhttp/cases.json', import.meta.url);
const skip = existsSync(file) ? false : 'no outside vectors here';

function vectors(type: 'request' | 'response'): readonly Vector[] {
  const all: readonly Vector[] = skip === false ? JSON.parse(readFileSync(file, 'utf8')) : [];
  return all.filter(({ meta, error, lenient }) => meta.type?.startsWith(type) && (error !== null || lenient));
}

/** What came back until the gateway closed or was silent. */
async function send(stage: Stage, text: string): Promise<string> {
  const socket = await stage.connect();
  let answer = '';
  let closed = false;
  socket.on('data', (piece: Buffer) => {
    answer += piece.toString('latin1');
  });
  socket.on('close', () => {
    closed = true;
  });
  socket.write(Buffer.from(text, 'latin1'));
  for (let waits = 0; !closed && waits < 60; waits += 1) await sleep(5);
  socket.destroy();
  return answer;
}

/** The same with a routed target and the Host of this tenant, so that only the fault itself can refuse it. */
function atHome(text: string): string {
  return text
    .replace(/^([A-Z-]+ )[^ \r\n]*( ?)/, '$1/open/x$2')
    .replaceAll(/\r?\nHost:[^\r\n]*/gi, '')
    .replace(/\r\n|\n|\r/, (end) => `${end}Host: ${HOST}\r\n`);
}

/** Vectors whose first request has no fault, or whose fault is in the target, which `atHome` rewrites. */
const SOUND_AT_FIRST: ReadonlySet<string> = new Set([
  'test/request/connection.md:113',
  'test/request/connection.md:397',
  'test/request/lenient-headers.md:37',
  'test/request/uri.md:151',
]);

const setting = { gateway: '  timeouts: { head: 100ms, linger: 20ms, streamIdle: 100ms }' };

t.test('a faulty request reaches no node, even if a lenient parser would take it', { skip }, async (t) => {
  const node = await rawNode(t, () => undefined);
  const stage = await setStage(t, { nodes: [node.address], ...setting });
  for (const vector of vectors('request')) {
    const text = Buffer.from(vector.input_b64, 'base64').toString('latin1');
    const place = `${vector.file}:${vector.line}`;
    const refused = /^(?:HTTP\/1\.1 (?:400|405|408|417|421|431|501) |$)/;
    t.match(await send(stage, text), refused, `${place} ${vector.name} is refused`);
    t.equal(node.received.join(''), '', `the node hears nothing of ${place}`);
    if (SOUND_AT_FIRST.has(place) || (vector.messages_complete > 0 && !vector.lenient)) continue;
    t.match(await send(stage, atHome(text)), refused, `${place} is refused with this Host`);
    t.equal(node.received.join(''), '', `the node hears nothing of ${place} with this Host`);
  }
});

t.test('a faulty response gives a 502 or breaks off', { skip }, async (t) => {
  for (const vector of vectors('response')) {
    const bytes = Buffer.from(vector.input_b64, 'base64');
    const node = await rawNode(t, (socket) => socket.write(bytes));
    const stage = await setStage(t, { nodes: [node.address], ...setting });
    const answer = await send(stage, `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    const place = `${vector.file}:${vector.line}`;
    t.match(
      answer,
      /^(?:HTTP\/1\.1 502 |HTTP\/1\.1 200 .*Transfer-Encoding: chunked\r\n|$)/s,
      `${place} ${vector.name} gives a 502 or breaks off`,
    );
    t.notMatch(answer, /\r\n0\r\n\r\n$/, `${place} has no clean end`);
  }
});
