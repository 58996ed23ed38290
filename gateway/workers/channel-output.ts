/** Sends access-log lines to the primary, which writes them to its standard output. */

import { EventEmitter } from 'node:events';
import { MIB } from '../core/units.ts';
import type { LineOutput } from '../observe/access-log.ts';
import type { WorkerEnd } from './messages.ts';

/** Limit on bytes waiting to be sent; further lines are dropped. */
const UNSENT_BYTES = 8 * MIB;

/** One process writes for all: several writing to one pipe would interleave their lines (pipe(7), PIPE_BUF). */
export class ChannelOutput extends EventEmitter implements LineOutput {
  readonly #channel: WorkerEnd;
  #unsentBytes = 0;

  constructor(channel: WorkerEnd) {
    super();
    this.#channel = channel;
  }

  write(bytes: Buffer): boolean {
    if (this.#unsentBytes + bytes.length > UNSENT_BYTES) {
      this.emit('drop');
      return false;
    }
    this.#unsentBytes += bytes.length;
    this.#channel.send({ kind: 'lines', bytes }, () => {
      this.#unsentBytes -= bytes.length;
      this.emit('write', bytes.length);
    });
    return true;
  }

  /** Does nothing: nothing is buffered. */
  flush(): void {}

  destroy(): void {
    this.emit('close');
  }
}
