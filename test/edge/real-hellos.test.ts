/** In hellos of real clients, cut and mutated, OpenSSL and the reader never see two different names. */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { type AddressInfo, connect } from 'node:net';
import { createServer, type Server } from 'node:tls';
import t, { type Test } from 'tap';
import { type HelloProgress, readServerName } from '../../gateway/edge/client-hello.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

const NAME = 'tenant-a.example.com';
const folder = new URL('hellos/', import.meta.url);

/** Records as they were captured, by the client that sent them. */
const hellos = new Map(
  readdirSync(folder).map((file) => {
    const hex = readFileSync(new URL(file, folder), 'utf8').replaceAll(/\s/g, '');
    return [file.replace('.hex', ''), Buffer.from(hex, 'hex')] as const;
  }),
);

t.test('the hello of every client is read, including GREASE and post-quantum key shares', async (t) => {
  t.same([...hellos.keys()].sort(), ['chromium', 'curl', 'node', 'openssl-tls12', 'openssl-tls13', 'python']);
  for (const [client, hello] of hellos) t.same(readServerName(hello), { kind: 'name', name: NAME }, client);
});

t.test(
  'a hello cut at any byte waits for the rest, and one cut into two records gives the same name',
  async (t) => {
    for (const [client, hello] of hellos) {
      const wrong: number[] = [];
      for (let at = 0; at < hello.length; at++) {
        if (readServerName(hello.subarray(0, at)).kind !== 'more') wrong.push(at);
      }
      for (let at = 6; at < hello.length; at++) {
        if (nameIn(readServerName(inTwoRecords(hello, at))) !== NAME) wrong.push(at);
      }
      t.same(wrong, [], client);
    }
  },
);

/** The single record of a hello as two, the first ending before `at`. */
function inTwoRecords(hello: Buffer, at: number): Buffer {
  const record = (body: Buffer): Buffer => {
    const header = Buffer.from(hello.subarray(0, 5));
    header.writeUInt16BE(body.length, 3);
    return Buffer.concat([header, body]);
  };
  return Buffer.concat([record(hello.subarray(5, at)), record(hello.subarray(at))]);
}

function nameIn(progress: HelloProgress): string | undefined {
  return progress.kind === 'name' ? progress.name : undefined;
}

/** What OpenSSL makes of the same bytes: the name it found, or undefined if it asked for none. */
async function openTeller(t: Test): Promise<(hello: Buffer) => Promise<string | undefined>> {
  let told: string | undefined;
  const server: Server = createServer({
    SNICallback: (name, done) => {
      told = name;
      done(new Error('enough'));
    },
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  return async (hello) => {
    told = undefined;
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.end(hello);
    socket.resume();
    await once(socket, 'close');
    return told;
  };
}

t.test('if OpenSSL finds a name in a mutated hello, the reader finds the same or refuses it', async (t) => {
  const tell = await openTeller(t);
  const random = new SeededRandom(3);
  const seen = { same: 0, refused: 0, none: 0 };
  for (let turn = 0; turn < 1800; turn++) {
    const hello = mutated([...hellos.values()][turn % hellos.size] ?? Buffer.alloc(0), random);
    const progress = readServerName(hello);
    const name = await tell(hello);
    if (progress.kind === 'more' && progress.neededBytes <= hello.length) t.fail(hello.toString('hex'));
    if (name === undefined) seen.none += 1;
    else if (progress.kind === 'fault') seen.refused += 1;
    else if (nameIn(progress) === name) seen.same += 1;
    else t.fail(`OpenSSL reads ${name}, the reader ${JSON.stringify(progress)}: ${hello.toString('hex')}`);
  }
  t.ok(seen.same > 100, JSON.stringify(seen));
});

/** Changes one to three bytes, half of them near the server name, and sometimes cuts or doubles a piece. */
function mutated(original: Buffer, random: SeededRandom): Buffer {
  let bytes = Buffer.from(original);
  const nameAt = bytes.indexOf(NAME);
  for (let left = 1 + random.below(3); left > 0; left--) {
    const at = random.next() < 0.5 ? nameAt - 12 + random.below(40) : random.below(bytes.length);
    bytes[at] = random.next() < 0.5 ? random.below(256) : (bytes[at] ?? 0) ^ (1 << random.below(8));
  }
  if (random.next() < 0.2) {
    const [from, to] = [random.below(bytes.length), random.below(bytes.length)].sort((a, b) => a - b);
    bytes = Buffer.concat([bytes.subarray(0, random.next() < 0.5 ? from : to), bytes.subarray(from)]);
    bytes.writeUInt16BE(bytes.length - 5, 3);
  }
  return bytes;
}
