/** Reads the body of a request whose sender may go away; what has arrived by then is still read. */

import type { IncomingMessage } from 'node:http';

/** The sender is gone; what arrived before that was delivered. */
export class SenderGoneError extends Error {}

/** The most bytes to read ahead, besides what the kernel buffers. */
const AHEAD_BYTES = 256 * 1024;

/** A connection is given up once nothing arrived for one interval, and after `LOOKS` intervals in any case. */
const QUIET_MS = 50;
const LOOKS = 20;

/** Ends a request whose sender has come back on another connection, once the data in flight has arrived. */
export function endWhenQuiet(request: IncomingMessage): void {
  let seenBytes = -1;
  let looks = 0;
  const timer = setInterval(() => {
    const { bytesRead } = request.socket;
    looks += 1;
    const waiting = bytesRead !== seenBytes && looks < LOOKS;
    seenBytes = bytesRead;
    if (waiting && !request.complete && !request.destroyed) return;
    clearInterval(timer);
    if (!request.complete) request.destroy();
  }, QUIET_MS);
}

/**
 * Yields the chunks of a body. When the connection breaks, a stream's own iterator drops what it has buffered, complete
 * frames included; this throws SenderGoneError after the last byte that arrived. Stopping early leaves the connection
 * as it is.
 */
export async function* bodyChunks(request: IncomingMessage): AsyncGenerator<Buffer> {
  const queue: Buffer[] = [];
  let queuedBytes = 0;
  let over: 'ended' | 'gone' | undefined;
  let wake = (): void => undefined;
  const onData = (chunk: Buffer): void => {
    queue.push(chunk);
    queuedBytes += chunk.length;
    if (queuedBytes >= AHEAD_BYTES) request.pause();
    wake();
  };
  const onOver = (): void => {
    over = request.readableEnded ? 'ended' : 'gone';
    wake();
  };
  request.on('data', onData).once('end', onOver).once('close', onOver);
  try {
    for (;;) {
      const chunk = queue.shift();
      if (chunk !== undefined) {
        queuedBytes -= chunk.length;
        if (queuedBytes < AHEAD_BYTES) request.resume();
        yield chunk;
      } else if (over === 'ended' || request.readableEnded) return;
      else if (over === 'gone' || request.destroyed) throw new SenderGoneError('the sender is gone');
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    request.off('data', onData).off('end', onOver).off('close', onOver);
  }
}
