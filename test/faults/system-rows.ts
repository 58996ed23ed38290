/** The matrix of faults, third part: the surroundings fail the gateway, or send it more than it can take. */

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { sleep } from '../path/stage.ts';
import { until } from '../path/upstream-stage.ts';
import { openConnections } from './fault-account.ts';
import { type FaultCaller, get, put } from './fault-caller.ts';
import {
  type AnyFaultRow,
  descriptors,
  type FaultRow,
  finallyGot,
  type GatewayProcessRow,
  routes,
  type Scene,
} from './fault-stage.ts';

const BYSTANDERS = 2;
const SILENT = 1000;
const PLACES = 4;
/** Requests that may wait for a node. */
const QUEUE = 1024;
/** Connections made at once. */
const WAVE = 50;
const SURPLUS = 100;
/** How long the node takes at its best, while a request may wait. */
const TAKEN_IN_TIME = 100;
const BUSY = /^http:\/\/127\.0\.0\.1:\d+: busy$/;
const UNAVAILABLE = { caller: '503 node-unavailable', account: 'gateway, node-unavailable' } as const;

const askOnce = ({ ask }: Scene): Promise<string> => ask(get());

/** Sends a byte a second until it is answered. */
async function trickle({ arrive }: Scene, head: string, text: string): Promise<string> {
  const caller = await arrive();
  caller.send(head);
  for (let at = 0; at < text.length && caller.got === undefined; at += 1) {
    caller.send(text.charAt(at));
    await Promise.race([sleep(1000), until(() => caller.got !== undefined)]);
  }
  return finallyGot(caller);
}

const names: readonly FaultRow[] = [
  {
    fault: 'The host name of the node does not resolve',
    ...UNAVAILABLE,
    node: 'nothing',
    cause: /^http:\/\/nodes\.test:1: unresolved$/,
    manner: 'says nothing',
    settings: {
      nodes: ['nodes.test:1'],
      lookup: async (host) => {
        throw Object.assign(new Error(host), { code: 'ENOTFOUND' });
      },
    },
    play: askOnce,
  },
  {
    fault: 'The look-up of the host name of the node gets no answer',
    ...UNAVAILABLE,
    node: 'nothing',
    cause: /^http:\/\/nodes\.test:1: unresolved$/,
    manner: 'says nothing',
    settings: {
      nodes: ['nodes.test:1'],
      lookup: () => new Promise(() => undefined),
      upstream: '    timeouts: { connect: 500ms }\n',
    },
    play: askOnce,
  },
];

const slow: readonly FaultRow[] = [
  {
    fault: 'A request head arrives at one byte per second',
    caller: '408 head-timeout',
    node: 'nothing',
    account: 'gateway, head-timeout',
    manner: 'says nothing',
    settings: { gateway: '  timeouts: { head: 1500ms, linger: 100ms }' },
    play: (scene) => trickle(scene, '', get()),
  },
  {
    fault: 'A body arrives at one byte per second, below the minimum of the route',
    caller: '408 too-slow',
    node: 'a reset',
    account: 'gateway, too-slow',
    manner: 'says nothing',
    settings: {
      gateway: '  timeouts: { linger: 100ms }',
      routes: routes('    stream: { minRate: 1KiB/s, minRateGrace: 500ms }\n'),
    },
    play: (scene) => trickle(scene, put('Content-Length: 100000'), 'x'.repeat(100)),
  },
  {
    fault: 'A body stalls',
    caller: '408 stream-idle',
    node: 'a reset',
    account: 'gateway, stream-idle',
    manner: 'says nothing',
    settings: { gateway: '  timeouts: { streamIdle: 1s, linger: 100ms }' },
    play: ({ ask }) => ask(`${put('Content-Length: 100000')}begun`),
  },
];

const many: readonly AnyFaultRow[] = [
  {
    fault: `${SILENT} connections send nothing; others are still served`,
    caller: 'nothing, closed',
    node: 'nothing',
    account: `no request: ${SILENT} × handshake timeout`,
    manner: 'answers',
    settings: {
      gateway: '  limits: { connectionsPerAddress: 2000 }\n  timeouts: { handshake: 3s }',
    },
    play: async (scene) => {
      const silent = await connections(scene.port, SILENT);
      await until(async () => (await openConnections(scene)) === SILENT + BYSTANDERS);
      const beside = await scene.ask(put('Content-Length: 0', '/well/x'));
      if (beside !== '200, whole') throw new Error(`a newcomer gets ${beside}`);
      await until(() => silent.every(({ closed }) => closed));
      return silent.every(({ bytesRead }) => bytesRead === 0) ? 'nothing, closed' : 'an answer';
    },
  },
  {
    fault: 'Twice as many requests as the node can take',
    caller: '200, whole or 503 node-unavailable',
    node: 'an end',
    account: 'gateway, node-unavailable or upstream, 200',
    cause: BUSY,
    manner: 'takes its time',
    recovers: true,
    settings: { upstream: `    breaker: { maxConcurrent: ${PLACES} }\n    timeouts: { connect: 500ms }\n` },
    play: async ({ arrive }) => {
      const callers = await Promise.all(Array.from({ length: 2 * TAKEN_IN_TIME }, () => arrive()));
      for (const caller of callers) caller.send(get());
      const got = await Promise.all(callers.map(finallyGot));
      return [...new Set(got)].sort().join(' or ');
    },
  },
  {
    fault: 'More requests than the node and the queue can take',
    caller: '503 node-unavailable at once, and all others 200, whole',
    node: 'an end',
    account: 'gateway, node-unavailable or upstream, 200',
    cause: BUSY,
    manner: 'answers',
    apart: 'node',
    recovers: true,
    settings: {
      gateway: '  limits: { connectionsPerAddress: 2000 }\n  timeouts: { handshake: 60s, head: 60s }',
      upstream: `    breaker: { maxConcurrent: ${PLACES} }\n    timeouts: { connect: 60s, firstByte: 60s }\n`,
    },
    play: async ({ arrive, node }) => {
      node.stop();
      const callers = await manyAsk(arrive, PLACES + QUEUE + SURPLUS);
      await until(() => callers.filter(({ got }) => got !== undefined).length === SURPLUS);
      const refused = new Set(callers.flatMap(({ got }) => got ?? []));
      node.goOn();
      const got = await Promise.all(callers.map(finallyGot));
      const served = new Set(got.filter((each) => !refused.has(each)));
      return `${[...refused].join(' or ')} at once, and all others ${[...served].join(' or ')}`;
    },
  },
];

/** Room for a few connections beside those already open. */
const SPARE = 20;

/** Leaves the gateway no descriptor while `what` runs, by means of silent connections. */
async function starve<T>(
  { pid, port }: { readonly pid: number; readonly port: number },
  what: () => Promise<T>,
): Promise<T> {
  const limit = descriptors(pid) + SPARE;
  execFileSync('prlimit', ['--pid', String(pid), `--nofile=${limit}`]);
  const plugs = await connections(port, SPARE * 2);
  await until(() => descriptors(pid) >= limit);
  const done = await what();
  for (const plug of plugs) plug.destroy();
  await until(() => descriptors(pid) <= limit - SPARE / 2);
  return done;
}

const starved: readonly GatewayProcessRow[] = [
  {
    fault: 'The gateway has no file descriptor left for a node',
    ...UNAVAILABLE,
    node: 'nothing',
    cause: /: EMFILE$/,
    manner: 'answers',
    apart: 'gateway',
    recovers: true,
    play: async (scene) => {
      const caller = await scene.arrive();
      return starve(scene, async () => {
        caller.send(get());
        return finallyGot(caller);
      });
    },
  },
  {
    fault: 'The gateway has no file descriptor left for a caller',
    caller: 'nothing, closed; 200, whole once descriptors are free',
    node: 'an end',
    account: 'upstream, 200',
    manner: 'answers',
    apart: 'gateway',
    play: async (scene) => {
      const refused = await starve(scene, async () => {
        const late = connect(scene.port, '127.0.0.1').on('error', () => undefined);
        await once(late.resume(), 'close');
        return late.bytesRead === 0 ? 'nothing, closed' : 'an answer';
      });
      return `${refused}; ${await scene.ask(get())} once descriptors are free`;
    },
  },
];

export const systemRows: readonly AnyFaultRow[] = [...names, ...slow, ...many, ...starved];

/** So many callers, each with its request sent; all but the first resume its session, which costs less. */
async function manyAsk(arrive: Scene['arrive'], count: number): Promise<readonly FaultCaller[]> {
  const first = await arrive();
  const session = await first.session;
  const callers = [first];
  while (callers.length < count) {
    const some = Array.from({ length: Math.min(WAVE, count - callers.length) }, () => arrive(session));
    callers.push(...(await Promise.all(some)));
    for (const caller of callers.slice(-some.length)) caller.send(get());
  }
  first.send(get());
  return callers;
}

/** Makes so many, a few at a time, so that the listener can keep up. */
async function connections(port: number, count: number): Promise<readonly Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    const some = Array.from({ length: Math.min(WAVE, count - sockets.length) }, () =>
      connect(port, '127.0.0.1'),
    );
    for (const socket of some) socket.on('error', () => undefined).resume();
    await Promise.all(some.map((socket) => once(socket, 'connect')));
    sockets.push(...some);
  }
  return sockets;
}
