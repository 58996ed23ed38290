/** The matrix of faults, second part: where a caller can vanish, by ending its connection and by resetting it. */

import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { HOST } from '../path/stage.ts';
import { until } from '../path/upstream-stage.ts';
import { openConnections } from './fault-account.ts';
import { type FaultCaller, get, type Leave, put } from './fault-caller.ts';
import type { FaultRow, Scene } from './fault-stage.ts';

const WAYS: readonly Leave[] = ['FIN', 'RST'];
const GONE = '—';
const LEFT = {
  node: 'a reset',
  account: 'caller, 499',
  cause: /^the caller closed the connection$/,
} as const;

/** Leaves once the request has got so far. */
function leaves(
  where: string,
  row: Pick<FaultRow, 'manner' | 'node' | 'account' | 'cause'>,
  begin: (caller: FaultCaller) => void,
  gotSoFar: (caller: FaultCaller, scene: Scene) => boolean | Promise<boolean>,
): readonly FaultRow[] {
  return WAYS.map((how) => ({
    fault: `The caller vanishes ${where}`,
    way: how,
    caller: GONE,
    ...row,
    play: async (scene) => {
      const caller = await scene.arrive();
      begin(caller);
      await until(() => gotSoFar(caller, scene));
      caller.leave(how);
      return GONE;
    },
  }));
}

/** Sends some of its first flight and leaves without a handshake. */
function turnsBack(
  where: string,
  sent: (hello: Buffer) => Buffer,
  gotSoFar: (socket: Socket, scene: Scene) => Promise<void>,
): readonly FaultRow[] {
  return WAYS.map((how) => ({
    fault: `The caller vanishes ${where}`,
    way: how,
    caller: GONE,
    node: 'nothing',
    account: 'no request: handshake failed',
    manner: 'says nothing',
    play: async (scene) => {
      const socket = connect(scene.port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(sent(await clientHello()));
      await gotSoFar(socket, scene);
      if (how === 'FIN') socket.end();
      else socket.resetAndDestroy();
      return GONE;
    },
  }));
}

/** The first flight of a caller of this process. */
function clientHello(): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        resolve(chunk);
        done();
      },
    });
    connectTls({ socket: wire, servername: HOST }).on('error', () => undefined);
  });
}

const hasRequest = (_: FaultCaller, { node }: Scene): boolean => node.sights.includes('request');
const sendsGet = (caller: FaultCaller): void => caller.send(get());
/** The two streams beside it, and this one. */
const isAccepted = async (scene: Scene): Promise<boolean> => (await openConnections(scene)) === 3;

export const callerRows: readonly FaultRow[] = [
  ...turnsBack(
    'during its ClientHello',
    (hello) => hello.subarray(0, 100),
    (_, scene) => until(() => isAccepted(scene)),
  ),
  ...turnsBack(
    'during the handshake',
    (hello) => hello,
    (socket) => new Promise((resolve) => socket.once('data', () => resolve())),
  ),
  ...leaves(
    'during its request head',
    { manner: 'says nothing', node: 'nothing', account: 'no request' },
    (caller) => caller.send('GET /fault/x HTTP/1.1\r\nHos'),
    (caller, scene) => caller.unsentBytes === 0 && isAccepted(scene),
  ),
  ...leaves(
    'during an upload with a length',
    { manner: 'says nothing', ...LEFT },
    (caller) => caller.send(`${put('Content-Length: 100000')}begun`),
    hasRequest,
  ),
  ...leaves(
    'during a chunked upload',
    { manner: 'says nothing', ...LEFT },
    (caller) => caller.send(`${put('Transfer-Encoding: chunked')}5\r\nbegun\r\n`),
    hasRequest,
  ),
  ...leaves(
    'while the gateway waits for the node',
    { manner: 'says nothing', ...LEFT },
    sendsGet,
    hasRequest,
  ),
  ...leaves(
    'during a response with a length',
    { manner: 'stays in a length', ...LEFT, account: 'caller, 200' },
    sendsGet,
    ({ text }) => text.includes('begun'),
  ),
  ...leaves(
    'during a chunked response',
    { manner: 'stays between chunks', ...LEFT, account: 'caller, 200' },
    sendsGet,
    ({ text }) => text.includes('begun'),
  ),
];
