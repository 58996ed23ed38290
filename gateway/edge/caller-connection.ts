/** One caller's connection behind TLS: heads in, calls one at a time, answers in order, a lingering close. */

import type { Socket } from 'node:net';
import { Expiring } from '../core/deadlines.ts';
import { type Denial, deny, isDenial } from '../core/denial.ts';
import type { RequestHead, RequestLine } from '../core/facts.ts';
import { MIB } from '../core/units.ts';
import type { BodySink } from '../http1/body-reader.ts';
import { HeadReader } from '../http1/head-reader.ts';
import { LastHead } from '../http1/last-head.ts';
import { headDenial, readRequest } from '../http1/request.ts';
import { CallBody } from './call-body.ts';
import type { CallListener } from './call-listener.ts';
import type { CallerContext } from './caller-context.ts';
import { CallerInput, type InputListener } from './caller-input.ts';
import { CallerOutput } from './caller-output.ts';
import { ChunkQueue } from './chunk-queue.ts';
import { closeFollows } from './close-follows.ts';
import type { Standing } from './standing.ts';

/** Bytes read and dropped after an answer that came before the end of the body (RFC 9112 §9.6). */
const LINGER_BYTES = MIB;

type State = 'idle' | 'head' | 'call' | 'closing' | 'closed';

/** The caller's end of an exchange. All writing methods may be called until `finish` or `abort`. */
export class CallerConnection extends Expiring implements InputListener {
  /** What is known of the caller, now and under any policy. */
  readonly standing: Pick<Standing, 'facts' | 'under'>;
  /** Where the bytes given to a sink are stored. */
  readonly input: CallerInput;
  readonly #socket: Socket;
  readonly #transport: Socket;
  readonly #context: CallerContext;
  readonly #heads: HeadReader;
  readonly #lastHead = new LastHead(readRequest);
  readonly #output: CallerOutput;
  readonly #queue = new ChunkQueue();
  #state: State = 'idle';
  readonly #body = new CallBody();
  #listener: CallListener | undefined;
  /** The chunk being read, if it is in memory that other connections also read into. */
  #lent: Buffer | undefined;
  #dropped = 0;
  #idleSinceMs: number;
  /** The caller has ended its side. */
  #atEnd = false;
  /** When the last call began, on the clock of the deadlines. */
  begunMs = 0;

  /** `transport` is the TCP connection below `socket`. */
  constructor(
    socket: Socket,
    transport: Socket,
    standing: CallerConnection['standing'],
    context: CallerContext,
  ) {
    super();
    this.#socket = socket;
    this.#transport = transport;
    this.standing = standing;
    this.#context = context;
    this.#heads = new HeadReader(context.llhttp, 'request', context.limits);
    context.deadlines.arm(this, context.timeouts.headMs);
    this.#idleSinceMs = context.deadlines.nowMs;
    this.input = new CallerInput(socket, context, this);
    this.#output = new CallerOutput(socket);
    socket.on('drain', () => this.#onDrain());
    socket.on('end', () => this.#onEnd());
    socket.on('close', () => this.#onClose());
    socket.on('error', closeFollows);
  }

  /** Whether the body of the running call was read to its end. */
  get bodyDone(): boolean {
    return this.#body.done;
  }

  /** Sets the listener of the running call. */
  attach(listener: CallListener): void {
    this.#listener = listener;
  }

  /** Lets the body of the call flow into the sink, after a flush: the caller may be waiting for what was written. */
  readBody(sink: BodySink): void {
    this.#body.goTo(sink);
    this.#output.flush();
    this.resumeBody();
  }

  resumeBody(): void {
    this.#body.isWanted = true;
    this.#pump();
    if (this.#body.isWanted) this.#socket.resume();
  }

  /** Stops reading the body, so that the caller sees back-pressure. */
  pauseBody(): void {
    this.#body.isWanted = false;
    this.#socket.pause();
  }

  /** Makes every further byte part of the call. Returns false, and does nothing, if some arrived too early. */
  openTunnel(sink: BodySink): boolean {
    if (this.#queue.bytes > 0) return false;
    this.#body.begin({ kind: 'close' });
    this.readBody(sink);
    return true;
  }

  /** Bytes of the answer that were written and not yet taken by the system. */
  get unsentBytes(): number {
    return this.#output.unsentBytes;
  }

  /** Bytes held for this caller, on both sides: those for the node stay in our memory if they were read into it. */
  get bufferedBytes(): number {
    const ofCaller = this.unsentBytes + this.#queue.bytes;
    if (this.#listener === undefined) return ofCaller;
    return ofCaller + Math.max(this.#listener.unsentBytes, this.input.memoryBytes);
  }

  /**
   * Adds to the answer; small pieces wait for `flush` or `finish`. `onWritten` is called when the bytes are no longer
   * needed. Returns false if the writer should wait for `onCallerDrain`.
   */
  write(bytes: Buffer | string, onWritten?: () => void): boolean {
    return this.#output.write(bytes, onWritten);
  }

  /** Sends what was written; to be called when nothing more is written for now. */
  flush(): void {
    this.#output.flush();
  }

  /** Ends the call. The connection is kept for the next one if `mayReuse` and the body was read to its end. */
  finish(mayReuse: boolean): void {
    this.#listener = undefined;
    this.#output.flush();
    if (!mayReuse || !this.#body.done) {
      this.#close();
      return;
    }
    this.#state = 'idle';
    this.#output.forget();
    this.#beIdle();
    this.#socket.resume();
    this.#pump();
  }

  /** Ends call and connection by a reset, so that the caller sees a broken answer instead of a short one. */
  abort(): void {
    this.#listener = undefined;
    // A socket whose end is being sent cannot be reset, and would never close after an attempt.
    if (this.#state === 'closing') this.#socket.destroy();
    else this.#transport.resetAndDestroy();
  }

  /** Without room nothing more is read for the running call. */
  setRoom(hasRoom: boolean): void {
    this.#listener?.onRoom(hasRoom);
  }

  /** Ends the running call, or resets the connection if there is none. */
  cut(denial: Denial): void {
    if (this.#listener === undefined) this.abort();
    else this.#listener.onCut(denial);
  }

  /** Closes the connection if it has been idle for `quietMs`; a running call closes it with `finish(false)`. */
  drain(quietMs: number): void {
    const idleMs = this.#context.deadlines.nowMs - this.#idleSinceMs;
    if (this.#state === 'idle' && idleMs >= quietMs) this.#close();
  }

  override expire(): void {
    if (this.#state === 'head')
      this.#begin(deny('head', 'head-timeout', 'The request head did not arrive in time.'));
    else if (this.#output.look()) this.#context.deadlines.arm(this, this.#context.timeouts.streamIdleMs);
    else this.#socket.destroy();
  }

  #beIdle(): void {
    this.#idleSinceMs = this.#context.deadlines.nowMs;
    this.#context.deadlines.arm(this, this.#context.timeouts.keepAliveIdleMs);
  }

  get gatherBytes(): number {
    return this.#state === 'call' ? this.#body.gatherBytes : 0;
  }

  onChunk(chunk: Buffer, isLent: boolean): void {
    if (this.#state === 'closing') {
      this.#dropped += chunk.length;
      // A caller that keeps sending stalls and can read the answer; a reset would discard the answer.
      if (this.#dropped > LINGER_BYTES) this.#socket.pause();
      return;
    }
    // Only the head reader reads lent memory in place; a body is copied.
    const queued = isLent && this.#state === 'call' ? Buffer.from(chunk) : chunk;
    this.#lent = queued === chunk && isLent ? chunk : undefined;
    this.#queue.push(queued);
    this.#pump();
    if (this.#context.memory !== undefined) this.#queue.keepRest(queued);
    this.#lent = undefined;
    if (this.#queue.isFull || (this.#state === 'call' && this.#body.isHeld)) this.#socket.pause();
  }

  /** Reads the queue as far as the state of the connection allows. */
  #pump(): void {
    if (this.#output.held) return;
    // Answers to requests that arrived together leave together.
    this.#output.hold();
    while (this.#queue.first !== undefined && this.#readsOn()) {
      if (this.#state === 'call') this.#readBody(this.#queue.first, this.#queue.at);
      else this.#readHead(this.#queue.first, this.#queue.at);
    }
    this.#output.release();
  }

  #readsOn(): boolean {
    if (this.#state === 'call') return this.#body.flows;
    // A caller that does not take its answers gets no further ones.
    return (this.#state === 'idle' || this.#state === 'head') && !this.#socket.writableNeedDrain;
  }

  #onDrain(): void {
    this.#listener?.onCallerDrain();
    if (this.#state !== 'idle' && this.#state !== 'head') return;
    // Only now has the whole answer been sent.
    if (this.#state === 'idle') this.#beIdle();
    this.#socket.resume();
    this.#pump();
  }

  #readHead(chunk: Buffer, from: number): void {
    const progress = this.#heads.read(chunk, from);
    if (progress.kind === 'head') {
      this.#queue.consume(chunk, progress.end);
      if (chunk === this.#lent) this.#queue.keepRest(chunk);
      this.#begin(this.#lastHead.find(progress.head, progress.head.method), progress.head);
    } else if (progress.kind === 'fault') {
      this.#begin(headDenial(progress));
    } else {
      this.#queue.consume(chunk, chunk.length);
      if (this.#state === 'idle') this.#context.deadlines.arm(this, this.#context.timeouts.headMs);
      this.#state = 'head';
    }
  }

  #readBody(chunk: Buffer, from: number): void {
    const progress = this.#body.read(chunk, from);
    if (typeof progress === 'number') this.#queue.consume(chunk, progress);
    else this.#listener?.onBadBody(progress.reason);
  }

  #begin(head: RequestHead | Denial, line?: RequestLine): void {
    this.#context.deadlines.disarm(this);
    this.#state = 'call';
    this.begunMs = this.#context.deadlines.nowMs;
    // Where the body of an untrusted head ends is unknown: a 'close' body is never done.
    this.#body.begin(isDenial(head) ? { kind: 'close' } : head.framing);
    this.#context.handle(this, head, line);
  }

  /** Sends what was written, then the end, and reads on for a bounded time so that no reset discards the answer. */
  #close(): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    const { deadlines, timeouts } = this.#context;
    this.#state = 'closing';
    this.#queue.clear();
    this.#output.look();
    deadlines.arm(this, timeouts.streamIdleMs);
    this.#output.end(() => {
      if (this.#state === 'closing') deadlines.arm(this, timeouts.lingerMs);
    });
    this.#socket.resume();
  }

  /** A caller that ends its side does not want an answer; while closing, it may still be reading one. */
  #onEnd(): void {
    this.input.deliver();
    if (this.#state === 'closing') return;
    this.#atEnd = true;
    this.#socket.destroy();
  }

  #onClose(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#context.deadlines.disarm(this);
    this.#heads.close();
    this.input.close();
    this.#queue.clear();
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.onCallerGone(this.#atEnd);
    this.#context.onClosed(this);
  }
}
