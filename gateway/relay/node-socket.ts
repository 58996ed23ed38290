/** The socket to a node: plain, read into buffers that are used again, or under TLS. */

import { connect, type Socket } from 'node:net';
import type { Destination } from './destination.ts';
import { ReadBuffers } from './read-buffers.ts';

const BUFFER_BYTES = 1 << 20;

export interface NodeSocket {
  readonly socket: Socket;
  /** The TCP connection, below TLS if there is some: a reset is its own. */
  readonly transport: Socket;
  /** Where it is read to; absent where every chunk has memory of its own. */
  readonly buffers: ReadBuffers | undefined;
}

/** Begins to connect; `onMade` is called when the node may be spoken to. */
export function openNodeSocket(
  { node, address, securedBy }: Destination,
  onMade: () => void,
  onChunk: (chunk: Buffer) => void,
): NodeSocket {
  // A name keeps the types from objecting: they lack highWaterMark, which every Duplex takes.
  const options = { host: address, port: node.port, noDelay: true, highWaterMark: BUFFER_BYTES };
  if (securedBy === undefined) {
    const buffers = new ReadBuffers();
    const socket = connect({ ...options, onread: buffers.onread(onChunk) });
    socket.on('connect', onMade);
    return { socket, transport: socket, buffers };
  }
  const transport = connect(options);
  const socket = securedBy.secure(transport, node);
  socket.on('secureConnect', onMade);
  socket.on('data', onChunk);
  return { socket, transport, buffers: undefined };
}
