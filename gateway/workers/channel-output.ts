/** Lines of the access log on their way to the primary, whose standard output they are written to. */

import { EventEmitter } from 'node:events';
import { MIB } from '../core/units.ts';
import type { LineOutput } from '../observe/access-log.ts';
import type { WorkerEnd } from './messages.ts';

/** Bytes that wait to be sent. */
const UNSENT_BYTES = 8 * MIB;

/** Several processes that write to one pipe would tear each other's lines (pipe(7), PIPE_BUF): one writes for all. */
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

  /** Nothing is kept back. */
  flush(): void {}

  destroy(): void {
    this.emit('close');
  }
}
