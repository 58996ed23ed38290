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
  /** What is known of the caller, now and under whatever policy. */
  readonly standing: Pick<Standing, 'facts' | 'under'>;
  /** Where the bytes lie that a sink is given. */
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
  /** The chunk being read, where it is in memory that other connections read into as well. */
  #lent: Buffer | undefined;
  #dropped = 0;
  #idleSinceMs: number;
  /** The caller has ended its side. */
  #atEnd = false;
  /** When the last call began, by the clock of the deadlines. */
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
    this.input = new CallerInput(socket, context.memory, this);
    this.#output = new CallerOutput(socket);
    socket.on('drain', () => this.#onDrain());
    socket.on('end', () => this.#onEnd());
    socket.on('close', () => this.#onClose());
    socket.on('error', closeFollows);
  }

  /** The body of the running call was read to its end. */
  get bodyDone(): boolean {
    return this.#body.done;
  }

  /** Names who hears the events of the running call. */
  attach(listener: CallListener): void {
    this.#listener = listener;
  }

  /** Lets the body of the running call flow into the sink; what was written before leaves first: a caller may wait for it. */
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

  /** Holds the body back; the caller feels it as back-pressure. */
  pauseBody(): void {
    this.#body.isWanted = false;
    this.#socket.pause();
  }

  /** From here on every byte belongs to the call. False, and nothing changes, where some came before their time. */
  openTunnel(sink: BodySink): boolean {
    if (this.#queue.bytes > 0) return false;
    this.#body.begin({ kind: 'close' });
    this.readBody(sink);
    return true;
  }

  /** Of the answer: written and not taken by the system yet. */
  get unsentBytes(): number {
    return this.#output.unsentBytes;
  }

  /** Held for this caller, on both sides: bytes for the node lie where they were read to, if that is memory of ours. */
  get bufferedBytes(): number {
    const ofCaller = this.unsentBytes + this.#queue.bytes;
    if (this.#listener === undefined) return ofCaller;
    return ofCaller + Math.max(this.#listener.unsentBytes, this.input.memoryBytes);
  }

  /**
   * Adds to the answer; what is small waits for `flush` or `finish`. `onWritten` is called when the bytes are not needed
   * any more. False: wait for `onCallerDrain`.
   */
  write(bytes: Buffer | string, onWritten?: () => void): boolean {
    return this.#output.write(bytes, onWritten);
  }

  /** Nothing more is written for now. */
  flush(): void {
    this.#output.flush();
  }

  /** Ends the call. The connection goes on to the next one if it may and the body was read to its end. */
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

  /** Ends call and connection by a reset, so that the caller sees a broken answer and not a short one. */
  abort(): void {
    this.#listener = undefined;
    // While its end is on its way a socket cannot be reset, and one that was tried on never closes.
    if (this.#state === 'closing') this.#socket.destroy();
    else this.#transport.resetAndDestroy();
  }

  /** Without room nothing more is read for the running call. */
  setRoom(hasRoom: boolean): void {
    this.#listener?.onRoom(hasRoom);
  }

  /** Ends the running call, or breaks a connection off that has none. */
  cut(denial: Denial): void {
    if (this.#listener === undefined) this.abort();
    else this.#listener.onCut(denial);
  }

  /** Closes the connection if it has been idle for so long; a call ends it by `finish(false)`. */
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

  /** Chunks of a body that is wanted come next. */
  get streams(): boolean {
    return this.#state === 'call' && this.#body.flows;
  }

  onChunk(chunk: Buffer, isLent: boolean): void {
    if (this.#state === 'closing') {
      this.#dropped += chunk.length;
      // Whoever sends on sees the answer while its sending stands still; a reset would take the answer with it.
      if (this.#dropped > LINGER_BYTES) this.#socket.pause();
      return;
    }
    // What is lent is read by the head reader, and by nobody else.
    const queued = isLent && this.#state === 'call' ? Buffer.from(chunk) : chunk;
    this.#lent = queued === chunk && isLent ? chunk : undefined;
    this.#queue.push(queued);
    this.#pump();
    if (this.#context.memory !== undefined) this.#queue.keepRest(queued);
    this.#lent = undefined;
    if (this.#queue.isFull || (this.#state === 'call' && this.#body.isHeld)) this.#socket.pause();
  }

  /** Reads on in the queue as far as the state of the connection lets it. */
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
    // Whoever does not take its answers gets no further ones.
    return (this.#state === 'idle' || this.#state === 'head') && !this.#socket.writableNeedDrain;
  }

  #onDrain(): void {
    this.#listener?.onCallerDrain();
    if (this.#state !== 'idle' && this.#state !== 'head') return;
    // Only now the caller has all of its answer.
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
    // A head that cannot be trusted leaves no telling where its body ends: 'close' is never done.
    this.#body.begin(isDenial(head) ? { kind: 'close' } : head.framing);
    this.#context.handle(this, head, line);
  }

  /** Sends what is written, then the end, and reads on for a bounded while so that no reset eats the answer. */
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

  /** A caller that ends its side has no use for an answer; one that is being closed may still be reading it. */
  #onEnd(): void {
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
