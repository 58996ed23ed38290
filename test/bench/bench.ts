/** `npm run bench`: CPU of the gateway beside HAProxy doing the same job, in one run. */

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect as dial } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { parseArgs } from 'node:util';
import { weightPatchType } from '../../gateway/patch/layout.ts';
import { cpuNs, residentBytes } from './cpu.ts';
import { type Answer, Caller } from './load.ts';
import { patchStream } from './patch-stream.ts';
import { median, print, spread } from './print.ts';
import {
  reportAddresses,
  reportDecisions,
  reportManyNames,
  reportRevocation,
  reportRotation,
  reportSwaps,
} from './reports.ts';
import { openYard, type Side, type Yard } from './yard.ts';

const MIB = 1024 * 1024;
const PIECE = Buffer.alloc(256 * 1024, 'w');
const CONNECTIONS = 8;
const WARM_REQUESTS = 1500;
const WARM_BYTES = 64 * MIB;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    requests: { type: 'string', default: '8000' },
    mebibytes: { type: 'string', default: '256' },
    seconds: { type: 'string', default: '60' },
    only: { type: 'string', default: '' },
  },
});
const rounds = Number(values.rounds);
const requests = Number(values.requests);
const streamBytes = Number(values.mebibytes) * MIB;

/** One kind of load; resolves to CPU time of the side per unit of work. */
interface Load {
  readonly name: string;
  readonly unit: string;
  run(yard: Yard, side: Side): Promise<number>;
}

async function measured(side: Side, work: () => Promise<void>): Promise<number> {
  const before = cpuNs(side.pid);
  await work();
  return cpuNs(side.pid) - before;
}

function requireStatus(answer: Answer, status: number, what: string): void {
  if (answer.status !== status) throw new Error(`${what}: ${answer.status}, not ${status}: ${answer.body}`);
}

async function callers(yard: Yard, side: Side, count: number): Promise<readonly Caller[]> {
  const sockets = await Promise.all(Array.from({ length: count }, () => yard.connect(side)));
  return sockets.map((socket) => new Caller(socket, yard.token));
}

async function ask(open: readonly Caller[], count: number): Promise<void> {
  await Promise.all(
    open.map(async (caller) => {
      for (let left = count / open.length; left > 0; left--) {
        requireStatus(await caller.get('/v1/models/bench'), 200, 'a small request');
      }
    }),
  );
}

/** Connections are opened before the clock starts: handshakes are another matter. */
const small: Load = {
  name: 'small request, kept connection',
  unit: 'µs',
  async run(yard, side) {
    const open = await callers(yard, side, CONNECTIONS);
    await ask(open, CONNECTIONS * 10);
    const ns = await measured(side, () => ask(open, requests));
    for (const caller of open) caller.close();
    return ns / 1000 / requests;
  },
};

function* body(bytes: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= PIECE.length) {
    yield left >= PIECE.length ? PIECE : PIECE.subarray(0, left);
  }
}

const gib = (ns: number, bytes: number): number => (ns / 1e9 / bytes) * 1024 * MIB;

async function upload(caller: Caller, path: string, pieces: Iterable<Buffer>, bytes: number): Promise<void> {
  const answer = await caller.put(path, weightPatchType, pieces, bytes);
  requireStatus(answer, 200, 'an upload');
  if (Number(answer.body) !== bytes) throw new Error(`the node got ${answer.body} of ${bytes} bytes`);
}

const up: Load = {
  name: 'upload',
  unit: 's/GiB',
  async run(yard, side) {
    const [caller] = await callers(yard, side, 1);
    if (caller === undefined) return Number.NaN;
    const ns = await measured(side, () => upload(caller, '/up', body(streamBytes), streamBytes));
    caller.close();
    return gib(ns, streamBytes);
  },
};

const down: Load = {
  name: 'download',
  unit: 's/GiB',
  async run(yard, side) {
    const [caller] = await callers(yard, side, 1);
    if (caller === undefined) return Number.NaN;
    const ns = await measured(side, async () => {
      const answer = await caller.get(`/down/${streamBytes}`);
      requireStatus(answer, 200, 'a download');
      if (answer.bodyBytes !== streamBytes)
        throw new Error(`${answer.bodyBytes} of ${streamBytes} bytes came`);
    });
    caller.close();
    return gib(ns, streamBytes);
  },
};

const HANDSHAKES = 150;

/** Connections that are made and closed, one after another. */
async function handshakes(yard: Yard, side: Side, session: Buffer | undefined): Promise<number> {
  const ns = await measured(side, async () => {
    for (let left = HANDSHAKES; left > 0; left--) {
      const socket = await yard.connect(side, session);
      if (socket.isSessionReused() !== (session !== undefined))
        throw new Error('resumed, or not, against the plan');
      await closed(socket);
    }
  });
  return ns / 1000 / HANDSHAKES;
}

/** Both sides see the end before the next handshake begins. */
async function closed(socket: TLSSocket): Promise<void> {
  const end = once(socket, 'close');
  socket.resume();
  socket.end();
  await end;
}

const full: Load = {
  name: 'handshake, full and mutual',
  unit: 'µs',
  run: (yard, side) => handshakes(yard, side, undefined),
};

async function sessionOf(yard: Yard, side: Side): Promise<Buffer> {
  const first = await yard.connect(side);
  const [session] = (await once(first, 'session')) as [Buffer];
  await closed(first);
  return session;
}

const resumed: Load = {
  name: 'handshake, resumed',
  unit: 'µs',
  run: async (yard, side) => handshakes(yard, side, await sessionOf(yard, side)),
};

/** TCP connections that are made and closed without a byte: what a handshake costs comes on top. */
async function bareConnections(side: Side): Promise<number> {
  const ns = await measured(side, async () => {
    for (let left = HANDSHAKES; left > 0; left--) {
      const socket = dial(side.port, '127.0.0.1');
      await once(socket, 'connect');
      const end = once(socket, 'close');
      socket.resume();
      socket.end();
      await end;
    }
  });
  return ns / 1000 / HANDSHAKES;
}

/** What resumption saves, on each side by itself: full, resumed and none in turns. */
async function reportResumption(yard: Yard): Promise<void> {
  print(`\nhandshake, resumed beside full, µs of the proxy's CPU, medians of ${rounds} rounds`);
  for (const side of [yard.patchgate, yard.haproxy]) {
    const session = await sessionOf(yard, side);
    const found: { full: number; again: number; bare: number }[] = [];
    for (let left = rounds; left > 0; left--) {
      const [full1, again1, bare1] = await inTurns(yard, side, session);
      const [full2, again2, bare2] = await inTurns(yard, side, session);
      found.push({ full: (full1 + full2) / 2, again: (again1 + again2) / 2, bare: (bare1 + bare2) / 2 });
    }
    const middle = (pick: (each: (typeof found)[number]) => number): string =>
      median(found.map(pick)).toFixed(0);
    print(
      `  ${side.name}: full ${middle((r) => r.full)}, resumed ${middle((r) => r.again)}, no handshake ${middle((r) => r.bare)}`,
    );
    print(`    resumed / full, the whole connection    ${spread(found.map((r) => r.again / r.full))}`);
    print(
      `    resumed / full, the handshake alone     ${spread(found.map((r) => (r.again - r.bare) / (r.full - r.bare)))}`,
    );
  }
}

async function inTurns(yard: Yard, side: Side, session: Buffer): Promise<readonly [number, number, number]> {
  return [
    await handshakes(yard, side, undefined),
    await handshakes(yard, side, session),
    await bareConnections(side),
  ];
}

/** The same weight patch through both; only patchgate looks into it. */
async function checkedLoad(mode: 'checked' | 'deep'): Promise<Load> {
  const pieces = await patchStream('bench', Math.ceil(streamBytes / (320 * 1024)));
  const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
  return {
    name: `patch upload, check: ${mode === 'checked' ? 'header' : 'deep'} (HAProxy: unchecked)`,
    unit: 's/GiB',
    async run(yard, side) {
      const [caller] = await callers(yard, side, 1);
      if (caller === undefined) return Number.NaN;
      const ns = await measured(side, () => upload(caller, `/${mode}/bench`, pieces, bytes));
      caller.close();
      return gib(ns, bytes);
    },
  };
}

/** Both must say yes and no to the same callers, over the same cipher, before anything is timed. */
async function requireSameWork(yard: Yard): Promise<string> {
  const ciphers = new Set<string>();
  for (const side of [yard.patchgate, yard.haproxy, yard.haproxyPlain]) {
    const socket = await yard.connect(side);
    ciphers.add(`${socket.getProtocol()} ${socket.getCipher().name}`);
    socket.destroy();
    await upload((await callers(yard, side, 1))[0] as Caller, '/up', body(MIB), MIB);
  }
  for (const side of [yard.patchgate, yard.haproxy]) {
    for (const token of [undefined, yard.badToken]) {
      const caller = new Caller(await yard.connect(side), token);
      requireStatus(await caller.get('/v1/models/bench'), 401, `${side.name} and a token it must refuse`);
      caller.close();
    }
  }
  if (ciphers.size !== 1) throw new Error(`different ciphers: ${[...ciphers].join(', ')}`);
  return [...ciphers].join();
}

async function warmUp(yard: Yard): Promise<void> {
  for (const side of [yard.patchgate, yard.haproxy, yard.haproxyPlain]) {
    const open = await callers(yard, side, CONNECTIONS);
    await ask(open, WARM_REQUESTS);
    const [first] = open;
    if (first !== undefined) await upload(first, '/up', body(WARM_BYTES), WARM_BYTES);
    for (const caller of open) caller.close();
  }
}

interface Round {
  readonly patchgate: number;
  readonly haproxy: number;
  readonly haproxyPlain: number;
  /** The same side twice in the round. */
  readonly noise: readonly number[];
}

/** patchgate, HAProxy, HAProxy, patchgate, so that a drift meets both alike. */
async function round(yard: Yard, load: Load): Promise<Round> {
  const a1 = await load.run(yard, yard.patchgate);
  const b1 = await load.run(yard, yard.haproxy);
  const plain = await load.run(yard, yard.haproxyPlain);
  const b2 = await load.run(yard, yard.haproxy);
  const a2 = await load.run(yard, yard.patchgate);
  return {
    patchgate: (a1 + a2) / 2,
    haproxy: (b1 + b2) / 2,
    haproxyPlain: plain,
    noise: [a1 / a2, b1 / b2],
  };
}

function report({ name, unit }: Load, results: readonly Round[]): void {
  const middle = (pick: (each: Round) => number): string => median(results.map(pick)).toFixed(2);
  print(`\n${name}, ${unit} of the proxy's CPU, medians of ${results.length} rounds`);
  print(`  patchgate            ${middle((each) => each.patchgate)}`);
  print(`  HAProxy              ${middle((each) => each.haproxy)}`);
  print(`  HAProxy, mTLS only   ${middle((each) => each.haproxyPlain)}`);
  print(`  patchgate / HAProxy                     ${spread(results.map((r) => r.patchgate / r.haproxy))}`);
  print(
    `  patchgate / HAProxy with mTLS only      ${spread(results.map((r) => r.patchgate / r.haproxyPlain))}`,
  );
  print(`  noise: the same side twice in a round   ${spread(results.flatMap((r) => r.noise))}`);
}

/** What is wanted of it, by the beginning of its name. */
function wanted(name: string): boolean {
  return name.startsWith(values.only);
}

if (wanted('server names')) await reportManyNames();
if (wanted('revocation')) await reportRevocation();
if (wanted('decisions')) await reportDecisions(Math.max(rounds, 10));
if (wanted('addresses'))
  for (const count of [100_000, 1_000_000]) await reportAddresses(count, Math.max(rounds, 10));
const yard = await openYard();
try {
  const [haproxyVersion = ''] = execFileSync('haproxy', ['-v']).toString().split('\n');
  print(`Node ${process.versions.node} (OpenSSL ${process.versions.openssl}); ${haproxyVersion}`);
  print(
    `both: mutual TLS, 100,000 prefixes, ES256 token, one log line a request; ${await requireSameWork(yard)}`,
  );
  await warmUp(yard);
  const loads = [small, full, resumed, up, down, await checkedLoad('checked'), await checkedLoad('deep')];
  for (const load of loads.filter(({ name }) => wanted(name))) {
    const results: Round[] = [];
    for (let left = rounds; left > 0; left--) results.push(await round(yard, load));
    report(load, results);
  }
  if (wanted('handshake')) await reportResumption(yard);
  if (wanted('rotation')) await reportRotation(yard, Number(values.seconds));
  if (wanted('swap')) await reportSwaps(yard, Number(values.seconds));
  const resident = [yard.patchgate, yard.haproxy].map(({ name, pid }) => {
    return `${name} ${(residentBytes(pid) / MIB).toFixed(0)} MiB`;
  });
  print(`\nresident afterwards: ${resident.join(', ')}`);
} finally {
  await yard.close();
}
