/** Writes of one connection: sends the writes of one turn together, and joins those that are adjacent in memory. */

import type { Socket } from 'node:net';
import { writeAtTurnEnd } from '../net/turn-end.ts';

/** Text is joined up to this. */
const TEXT_CHARACTERS = 64 * 1024;

export class JoinedWrites {
  readonly #socket: Socket;
  #corked = false;
  /** Whether 'drain' was to come when this cork began. What is corked now says nothing of how fast the node is. */
  #wasBehind = false;
  /** Adjacent bytes not written yet, and the callbacks for when they are. */
  #memory: ArrayBufferLike | undefined;
  #start = 0;
  #end = 0;
  #waiting: (() => void)[] = [];
  /** The callbacks of each write that is still corked. */
  #corkedWaiting: (() => void)[][] = [];
  /** Text not written yet. Text and bytes are never pending at the same time. */
  #text = '';

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /**
   * Calls `onWritten` when the bytes are no longer needed. Bytes without it have their own memory and are not joined.
   * Text is Latin-1. Returns false if the writer should wait for 'drain'.
   */
  write(bytes: Buffer | string, onWritten?: () => void): boolean {
    this.#gather();
    if (typeof bytes === 'string') {
      this.#append(bytes);
    } else if (onWritten === undefined) {
      this.#flush();
      this.#socket.write(bytes);
    } else {
      this.#join(bytes, onWritten);
    }
    // Once it has drained, no other 'drain' would come.
    return !(this.#wasBehind && this.#socket.writableNeedDrain);
  }

  /** Writes at once, after everything written before. */
  writeNow(text: string): void {
    this.#flush();
    this.#socket.write(text, 'latin1');
  }

  #append(text: string): void {
    if (this.#memory !== undefined) this.#flush();
    this.#text += text;
    if (this.#text.length >= TEXT_CHARACTERS) this.#flush();
  }

  /** Ends the connection after everything written before. */
  end(): void {
    this.#flush();
    this.#socket.end();
  }

  #join({ buffer, byteOffset, length }: Buffer, onWritten: () => void): void {
    if (buffer !== this.#memory || byteOffset !== this.#end) {
      this.#flush();
      this.#memory = buffer;
      this.#start = byteOffset;
    }
    this.#end = byteOffset + length;
    this.#waiting.push(onWritten);
  }

  #flush(): void {
    if (this.#text !== '') this.#socket.write(this.#text, 'latin1');
    this.#text = '';
    const memory = this.#memory;
    if (memory === undefined) return;
    const waiting = this.#waiting;
    this.#memory = undefined;
    this.#waiting = [];
    this.#corkedWaiting.push(waiting);
    this.#socket.write(Buffer.from(memory, this.#start, this.#end - this.#start), () => release(waiting));
  }

  /** Sends everything. Bytes the kernel takes at once are released at once: the next read can use their memory. */
  #leave(): void {
    this.#flush();
    this.#socket.uncork();
    if (this.#socket.writableLength === 0) this.#corkedWaiting.forEach(release);
    this.#corkedWaiting.length = 0;
  }

  #gather(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.#wasBehind = this.#socket.writableNeedDrain;
    this.#socket.cork();
    writeAtTurnEnd(this.#letGo);
  }

  readonly #letGo = (): void => {
    this.#corked = false;
    this.#leave();
  };
}

/** Calls each callback, once. */
function release(waiting: (() => void)[]): void {
  for (const onWritten of waiting.splice(0)) onWritten();
}
