/** One keep-alive connection to a sync node: a request out, its response in, then perhaps another. */

import type { Socket } from 'node:net';
import { type Deadlines, Expiring } from '../core/deadlines.ts';
import { type BodyReader, type BodySink, bodyReader, NO_TRAILERS } from '../http1/body-reader.ts';
import { type HeadLimits, HeadReader } from '../http1/head-reader.ts';
import { LastHead } from '../http1/last-head.ts';
import { type ResponseHead, readResponse } from '../http1/response.ts';
import type { Destination, NodeContext } from './destination.ts';
import { JoinedWrites } from './joined-writes.ts';
import { NodeSocket } from './node-socket.ts';
import type { SecuredBy } from './node-tls.ts';
import type { RequestWatch } from './request-watch.ts';
import type { ConnectionOwner, NodeFault, ResponseListener } from './response-listener.ts';

/** Bounds on a node's response head. */
const HEAD_LIMITS: HeadLimits = { headBytes: 65536, headFields: 200 };
/** Interim responses (1xx) before the final one; each is read and dropped, so they are bounded. */
const INTERIM_RESPONSES = 32;
/** For the node to close a tunnel that its caller has left. */
const CLOSE_MS = 2000;
/** They would be read as the answer to another request, or are one that was cut in two (RFC 9112 §9.2). */
const SURPLUS = 'bytes behind the end of the response';

/** A socket that carries one request at a time; made by the pool, which is its owner. */
export class NodeConnection extends Expiring {
  readonly #link: NodeSocket;
  readonly #socket: Socket;
  readonly #owner: ConnectionOwner;
  readonly #heads: HeadReader;
  readonly #lastHead = new LastHead(readResponse);
  readonly #deadlines: Deadlines;
  readonly #output: JoinedWrites;
  #listener: ResponseListener | undefined;
  /** What the body reader writes to; the end is told by `#endResponse`. */
  readonly #sink: BodySink = {
    onBody: (bytes) => this.#listener?.onBody(bytes),
    onBodyEnd: (trailers) => {
      this.#trailers = trailers;
    },
  };
  #trailers = NO_TRAILERS;
  #body: BodyReader = bodyReader({ kind: 'none' });
  #method = '';
  #phase: 'connecting' | 'idle' | 'waiting' | 'body' | 'closed' = 'connecting';
  #interim = 0;
  #requestDone = false;
  #keepAlive = true;
  #untilClose = false;
  #fault: NodeFault = { kind: 'broken', reason: 'the node closed the connection' };
  /** What its TLS was made with. */
  readonly securedBy: SecuredBy | undefined;
  /** Requests begun on this connection. */
  uses = 0;

  /** Told of what becomes of its requests. */
  readonly watch: RequestWatch | undefined;

  constructor(to: Destination, context: NodeContext, owner: ConnectionOwner, watch?: RequestWatch) {
    super();
    this.securedBy = to.securedBy;
    this.watch = watch;
    this.#owner = owner;
    this.#deadlines = context.deadlines;
    this.#heads = new HeadReader(context.llhttp, 'response', HEAD_LIMITS);
    this.#deadlines.arm(this, to.connectMs);
    this.#link = new NodeSocket(
      to,
      () => this.#onConnect(),
      (chunk) => this.#onData(chunk),
    );
    this.#socket = this.#link.stream;
    this.#output = new JoinedWrites(this.#socket);
    this.#socket.on('drain', () => this.#listener?.onNodeDrain());
    this.#socket.on('end', () => this.#onEnd());
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#onError(error));
    this.#socket.on('close', () => this.#onClose());
  }

  /** Carries no request and may take one. What was closed a moment ago may not, though its owner hears of it later. */
  get idle(): boolean {
    return this.#phase === 'idle' && !this.#socket.destroyed;
  }

  /** Written and not taken by the system yet. */
  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  /** Begins a request with its whole head; `hasBody` says whether `write` and `end` follow. */
  begin(method: string, head: string, hasBody: boolean, listener: ResponseListener): void {
    if (this.#phase !== 'idle') throw new Error(`a request on a connection that is ${this.#phase}`);
    this.#deadlines.disarm(this);
    this.#listener = listener;
    this.#method = method;
    this.#phase = 'waiting';
    this.#interim = 0;
    this.#requestDone = !hasBody;
    this.uses += 1;
    this.watch?.begun(hasBody);
    if (hasBody) this.write(head);
    else this.#output.writeNow(head);
  }

  /** Sends body bytes, framed by the caller of this; `onWritten` is called when they are not needed any more. */
  write(bytes: Buffer | string, onWritten?: () => void): boolean {
    return this.#output.write(bytes, onWritten);
  }

  /** The request is sent whole. */
  endRequest(): void {
    this.#requestDone = true;
    this.watch?.sentWhole();
    this.#settle();
  }

  /**
   * Keeps the bytes `onBody` was given until the answer is called; unless held they are others' after the call. Nothing
   * where they are nobody else's anyway.
   */
  hold(): (() => void) | undefined {
    return this.#link.hold();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Gives the request up: the node sees a reset, never a clean end. `blame`: what the node has done, or not done. */
  reset(blame?: string): void {
    if (blame === undefined) this.watch?.giveUp();
    else this.watch?.break(blame);
    this.#listener = undefined;
    this.#link.breakOff();
  }

  /** Sends what is written, then the end: a tunnel is over. */
  end(): void {
    this.watch?.end();
    this.#listener = undefined;
    this.#output.end();
    this.#deadlines.arm(this, CLOSE_MS);
  }

  /** Closes an idle connection. */
  close(): void {
    this.#socket.destroy();
  }

  /** Closes the connection when it has been idle for so long. */
  closeAfter(idleMs: number): void {
    this.#deadlines.arm(this, idleMs);
  }

  override expire(): void {
    if (this.#phase === 'connecting') this.#fault = { kind: 'timeout', reason: 'no connection in time' };
    this.#socket.destroy();
  }

  #onConnect(): void {
    this.#deadlines.disarm(this);
    this.#phase = 'idle';
    this.#owner.onConnected(this);
  }

  #onData(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && this.#phase !== 'closed') {
      const next = this.#read(chunk, at);
      if (next === undefined) return;
      at = next;
    }
    this.#listener?.onReadEnd();
  }

  /** Reads one head, or on in the body; nothing means the connection was given up. */
  #read(chunk: Buffer, at: number): number | undefined {
    if (this.#phase === 'waiting') return this.#readHead(chunk, at);
    if (this.#phase === 'body' && !this.#body.done && this.#listener !== undefined) {
      return this.#readBody(chunk, at);
    }
    // A byte on an idle connection belongs to no request: it would answer the next one (CVE-2026-48931).
    return this.#fail('unsolicited bytes');
  }

  #readHead(chunk: Buffer, at: number): number | undefined {
    const progress = this.#heads.read(chunk, at);
    if (progress.kind === 'more') return chunk.length;
    if (progress.kind === 'fault') return this.#fail(progress.reason);
    const head = this.#lastHead.find(progress.head, this.#method);
    if (typeof head === 'string') return this.#fail(head);
    if (head.status === 101) return this.#upgrade(head, progress.end);
    if (head.status < 200) {
      this.#interim += 1;
      return this.#interim > INTERIM_RESPONSES ? this.#fail('interim responses without end') : progress.end;
    }
    const moreFollows = progress.end < chunk.length;
    if (moreFollows && head.framing.kind === 'none') return this.#fail(SURPLUS);
    this.#phase = 'body';
    this.#keepAlive = head.keepAlive;
    this.#untilClose = head.framing.kind === 'close';
    this.#body = bodyReader(head.framing);
    this.watch?.answer(head.status);
    const listener = this.#listener;
    listener?.onResponse(head);
    if (this.#body.done && this.#listener === listener) this.#endResponse();
    return progress.end;
  }

  /** What follows is neither request nor response: the connection will never carry another. */
  #upgrade(head: ResponseHead, at: number): number | undefined {
    if (this.#listener?.mayUpgrade !== true) return this.#fail('an upgrade nobody asked for');
    this.#phase = 'body';
    this.#keepAlive = false;
    this.#untilClose = true;
    this.#body = bodyReader({ kind: 'close' });
    this.watch?.answer(head.status);
    this.#listener.onUpgrade(head);
    return at;
  }

  #readBody(chunk: Buffer, at: number): number | undefined {
    const progress = this.#body.read(chunk, at, this.#sink);
    if (typeof progress !== 'number') return this.#fail(progress.reason);
    if (this.#body.done && progress < chunk.length) return this.#fail(SURPLUS);
    if (this.#body.done) this.#endResponse();
    return progress;
  }

  /** The connection is free before its listener hears of the end: the next request may come from there. */
  #endResponse(): void {
    const listener = this.#listener;
    this.watch?.end();
    this.#settle();
    listener?.onBodyEnd(this.#trailers);
  }

  /** Hands the connection back once request and response are both whole. */
  #settle(): void {
    if (this.#phase !== 'body' || !this.#body.done || !this.#requestDone) return;
    this.#listener = undefined;
    if (this.#keepAlive && !this.#socket.destroyed) {
      this.#phase = 'idle';
      this.#socket.resume();
      this.#owner.onReusable(this);
    } else {
      this.#socket.destroy();
    }
  }

  /** The listener hears at once, before what it has of the response is on its way as a whole one. */
  #fail(reason: string): undefined {
    this.#fault = { kind: 'bad-response', reason };
    this.watch?.break(reason);
    const listener = this.#listener;
    this.#listener = undefined;
    this.#link.breakOff();
    listener?.onNodeFault(this.#fault);
    return undefined;
  }

  #onEnd(): void {
    const listener = this.#listener;
    // Without length and chunks the end of the connection is the end of the body (RFC 9112 §6.3, rule 8).
    if (this.#phase === 'body' && this.#untilClose && listener !== undefined) {
      this.#listener = undefined;
      this.watch?.end();
      listener.onBodyEnd(NO_TRAILERS);
    }
    this.#socket.destroy();
  }

  #onError(error: NodeJS.ErrnoException): void {
    if (this.#fault.kind !== 'broken') return;
    const kind = this.#phase === 'connecting' ? 'refused' : 'broken';
    this.#fault = { kind, reason: error.code ?? error.message };
  }

  #onClose(): void {
    const isUnanswered = this.#phase === 'waiting' && this.#interim === 0 && !this.#heads.started;
    if (isUnanswered && this.uses > 1 && this.#fault.kind === 'broken' && this.watch?.isLate !== true)
      this.#fault = { kind: 'stale', reason: this.#fault.reason };
    this.#phase = 'closed';
    this.#deadlines.disarm(this);
    this.#heads.close();
    const listener = this.#listener;
    if (this.#fault.kind === 'stale' && listener?.mayRetry === true) this.watch?.giveUp();
    else this.watch?.break(this.#fault.reason);
    this.#listener = undefined;
    this.#owner.onClosed(this, this.#fault);
    listener?.onNodeFault(this.#fault);
  }
}
