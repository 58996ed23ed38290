/** The matrix of faults, first part: what a node can do to a request. */

import { connect, type Socket } from 'node:net';
import { MIB } from '../../gateway/core/units.ts';
import { sleep } from '../path/stage.ts';
import { until } from '../path/upstream-stage.ts';
import { type FaultCaller, get, put } from './fault-caller.ts';
import type { FaultNode, NodeProcess } from './fault-node.ts';
import {
  type AnyFaultRow,
  type FaultRow,
  finallyGot,
  type NodeProcessRow,
  type Scene,
} from './fault-stage.ts';

const IMPATIENT = { gateway: '  timeouts: { streamIdle: 1s, linger: 100ms }' };
const HURRIED = { upstream: '    timeouts: { firstByte: 500ms }\n' };
const BROKEN = { caller: '200, broken', account: 'upstream, 200' } as const;
const FAILED = { caller: '502 node-failed', account: 'gateway, node-failed' } as const;

/** A request that reaches the end of what its node does by itself. */
const askOnce = ({ ask }: Scene): Promise<string> => ask(get());

/** The node is a process that is killed once the request of the caller has got so far. */
function killed(
  fault: string,
  row: Pick<NodeProcessRow, 'manner' | 'caller' | 'account'>,
  begin: (caller: FaultCaller) => void,
  gotSoFar: (caller: FaultCaller, node: NodeProcess) => boolean,
): NodeProcessRow {
  return {
    fault: `The node is killed ${fault}`,
    node: '—',
    apart: 'node',
    cause: /^http:\/\/127\.0\.0\.1:\d+: ./,
    ...row,
    play: async ({ arrive, node }) => {
      const caller = await arrive();
      begin(caller);
      await until(() => gotSoFar(caller, node));
      await node.kill();
      return finallyGot(caller);
    },
  };
}

const hasRequest = (_: FaultCaller, node: FaultNode): boolean => node.sights.includes('request');
const hasText = (end: string) => (caller: FaultCaller) => caller.text.includes(end);
const sendsGet = (caller: FaultCaller): void => caller.send(get());

const gone: readonly NodeProcessRow[] = [
  {
    fault: 'The node is down: its port refuses connections',
    caller: '503 node-unavailable',
    node: 'nothing',
    account: 'gateway, node-unavailable',
    cause: /: ECONNREFUSED$/,
    manner: 'says nothing',
    apart: 'node',
    play: async ({ ask, node }) => {
      await node.kill();
      return ask(get());
    },
  },
  {
    fault: 'The node accepts no connections: its backlog is full',
    caller: '504 node-timeout',
    node: 'nothing',
    account: 'gateway, node-timeout',
    cause: /: no connection in time$/,
    manner: 'says nothing',
    apart: 'node',
    settings: { upstream: '    timeouts: { connect: 500ms }\n' },
    play: async ({ ask, node }) => {
      node.stop();
      const plugs = await fillBacklog(node.address);
      const got = await ask(get());
      await node.kill();
      for (const plug of plugs) plug.destroy();
      return got;
    },
  },
  killed('after the request head', { manner: 'says nothing', ...FAILED }, sendsGet, hasRequest),
  killed(
    'during an upload',
    { manner: 'says nothing', ...FAILED },
    (caller) => caller.send(`${put('Content-Length: 100000')}begun`),
    hasRequest,
  ),
  killed(
    'after the response head',
    { manner: 'stays at the head', ...BROKEN },
    sendsGet,
    hasText('\r\n\r\n'),
  ),
  killed(
    'during a response with a length',
    { manner: 'stays in a length', ...BROKEN },
    sendsGet,
    hasText('begun'),
  ),
  killed(
    'during a chunked response',
    { manner: 'stays between chunks', ...BROKEN },
    sendsGet,
    hasText('begun'),
  ),
];

const still: readonly NodeProcessRow[] = [
  {
    fault: 'The node hangs before its response (SIGSTOP) and continues in time',
    caller: '200, whole',
    node: 'an end',
    account: 'upstream, 200',
    manner: 'answers',
    apart: 'node',
    play: async ({ arrive, node }) => {
      node.stop();
      const caller = await arrive();
      caller.send(get());
      await sleep(300);
      node.goOn();
      return finallyGot(caller);
    },
  },
  {
    fault: 'The node hangs before its response for too long',
    caller: '504 node-timeout',
    node: 'a reset',
    account: 'gateway, node-timeout',
    manner: 'answers',
    apart: 'node',
    settings: HURRIED,
    recovers: true,
    play: async ({ ask, node }) => {
      node.stop();
      const got = await ask(get());
      node.goOn();
      await until(() => node.sights.includes('reset'));
      return got;
    },
  },
  {
    fault: 'The node hangs during an upload',
    caller: '504 node-timeout',
    node: 'a reset',
    account: 'gateway, node-timeout',
    manner: 'says nothing',
    apart: 'node',
    settings: IMPATIENT,
    play: async ({ arrive, node }) => {
      const caller = await arrive();
      caller.send(put(`Content-Length: ${64 * MIB}`));
      await until(() => hasRequest(caller, node));
      node.stop();
      caller.send(Buffer.alloc(32 * MIB));
      await until(() => caller.text.includes('"code"') || caller.closed);
      node.goOn();
      return finallyGot(caller);
    },
  },
  {
    fault: 'The node hangs during its response',
    ...BROKEN,
    node: 'a reset',
    cause: /^the node stopped sending$/,
    manner: 'stays in a length',
    apart: 'node',
    settings: IMPATIENT,
    play: async ({ arrive, node }) => {
      const caller = await arrive();
      caller.send(get());
      await until(() => caller.text.includes('begun'));
      node.stop();
      await until(() => caller.closed);
      node.goOn();
      return finallyGot(caller);
    },
  },
];

const wrong: readonly FaultRow[] = [
  {
    fault: 'The node responds byte by byte',
    caller: '200, whole',
    node: 'an end',
    account: 'upstream, 200',
    manner: 'answers byte by byte',
    play: askOnce,
  },
  {
    fault: 'The node resets the connection before its response',
    ...FAILED,
    node: '—',
    cause: /: ECONNRESET$/,
    manner: 'resets at the head',
    play: askOnce,
  },
  {
    fault: 'The node resets the connection during its response',
    ...BROKEN,
    node: '—',
    cause: /: ECONNRESET$/,
    manner: 'resets in its answer',
    play: askOnce,
  },
  {
    fault: 'The node responds with garbage',
    ...FAILED,
    node: 'a reset',
    manner: 'answers in another tongue',
    play: askOnce,
  },
  {
    fault: 'The node sends garbage in place of a chunk',
    ...BROKEN,
    node: 'a reset',
    manner: 'garbles its chunks',
    play: askOnce,
  },
  {
    fault: 'The node sends fewer bytes than its length and closes',
    ...BROKEN,
    node: '—',
    manner: 'ends in a length',
    play: askOnce,
  },
  {
    fault: 'The node closes without sending the last chunk',
    ...BROKEN,
    node: '—',
    manner: 'ends between chunks',
    play: askOnce,
  },
  {
    fault: 'The node sends more bytes than its length',
    caller: 'nothing, closed',
    account: 'upstream, 200',
    node: 'a reset',
    cause: /: bytes after the end of the response$/,
    manner: 'sends more at once',
    play: askOnce,
  },
  {
    fault: 'The node sends more bytes after a whole response',
    caller: '200, whole',
    node: 'a reset',
    account: 'upstream, 200',
    manner: 'sends more later',
    play: async ({ ask, node }) => {
      const got = await ask(get());
      await until(() => node.sights.includes('reset'));
      return got;
    },
  },
];

export const nodeRows: readonly AnyFaultRow[] = [...gone, ...still, ...wrong];

/** Connects until the system takes no more connections for the stopped node. */
async function fillBacklog(address: string): Promise<readonly Socket[]> {
  const [host = '', port = ''] = address.split(':');
  const plugs: Socket[] = [];
  for (let connected = true; connected; ) {
    const plug = connect(Number(port), host);
    plug.on('error', () => undefined);
    plugs.push(plug);
    connected = await Promise.race([
      new Promise<boolean>((resolve) => plug.once('connect', () => resolve(true))),
      sleep(200).then(() => false),
    ]);
  }
  return plugs;
}
