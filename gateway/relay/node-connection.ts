/** One keep-alive connection to a sync node: one request and response at a time. */

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
/** Limit on interim responses (1xx) before the final one; each is read and dropped. */
const INTERIM_RESPONSES = 32;
/** How long a node may take to close a tunnel that its caller has left. */
const CLOSE_MS = 2000;
/** They could be taken for the response to another request, or are the rest of a split one (RFC 9112 §9.2). */
const SURPLUS = 'bytes after the end of the response';

/** A socket that carries one request at a time. Its owner, usually the pool, creates it. */
export class NodeConnection extends Expiring {
  readonly #link: NodeSocket;
  readonly #socket: Socket;
  readonly #owner: ConnectionOwner;
  readonly #heads: HeadReader;
  readonly #lastHead = new LastHead(readResponse);
  readonly #deadlines: Deadlines;
  readonly #output: JoinedWrites;
  #listener: ResponseListener | undefined;
  /** Receives what the body reader finds; `#endResponse` reports the end to the listener. */
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
  /** How the connection was secured; undefined without TLS. */
  readonly securedBy: SecuredBy | undefined;
  /** Requests begun on this connection. */
  uses = 0;
  /** Notified of the outcome of each request. */
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

  /** Carries no request and may take one. False as soon as it is closed, even before its owner hears of that. */
  get idle(): boolean {
    return this.#phase === 'idle' && !this.#socket.destroyed;
  }

  /** Bytes written and not yet taken by the kernel. */
  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  /** Begins a request with its whole head; `hasBody` says whether `write` and `endRequest` follow. */
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

  /**
   * Sends body bytes, already framed. Calls `onWritten` when they are no longer needed. Returns false if the writer
   * should wait for `onNodeDrain`.
   */
  write(bytes: Buffer | string, onWritten?: () => void): boolean {
    return this.#output.write(bytes, onWritten);
  }

  /** The whole request has been sent. */
  endRequest(): void {
    this.#requestDone = true;
    this.watch?.sentWhole();
    this.#settle();
  }

  /**
   * Keeps the bytes passed to `onBody` until the returned function is called; unless held, their buffer is reused after
   * the call. Returns undefined if they have memory of their own and need no hold.
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

  /** Gives up the request: the node sees a reset, never a clean end. `blame`: the node's failure, if it is to blame. */
  reset(blame?: string): void {
    if (blame === undefined) this.watch?.giveUp();
    else this.watch?.break(blame);
    this.#listener = undefined;
    this.#link.breakOff();
  }

  /** Ends a tunnel: sends what was written, then FIN. */
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

  /** Closes the connection if it stays idle for `idleMs`. */
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

  /** Reads one head or more of the body. Returns the offset to read on from, or undefined if the connection failed. */
  #read(chunk: Buffer, at: number): number | undefined {
    if (this.#phase === 'waiting') return this.#readHead(chunk, at);
    if (this.#phase === 'body' && !this.#body.done && this.#listener !== undefined) {
      return this.#readBody(chunk, at);
    }
    // Bytes on an idle connection belong to no request and would answer the next one (CVE-2026-48931).
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
      return this.#interim > INTERIM_RESPONSES ? this.#fail('too many interim responses') : progress.end;
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

  /** What follows is not HTTP/1.1: the connection will not be reused. */
  #upgrade(head: ResponseHead, at: number): number | undefined {
    if (this.#listener?.mayUpgrade !== true) return this.#fail('unsolicited upgrade');
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

  /** Frees the connection before notifying the listener, which may start the next request. */
  #endResponse(): void {
    const listener = this.#listener;
    this.watch?.end();
    this.#settle();
    listener?.onBodyEnd(this.#trailers);
  }

  /** Hands the connection back to its owner once request and response are both complete. */
  #settle(): void {
    if (this.#phase !== 'body' || !this.#body.done || !this.#requestDone) return;
    this.#listener = undefined;
    if (this.#keepAlive && !this.#socket.destroyed) {
      this.#phase = 'idle';
      this.#link.rest();
      this.#socket.resume();
      this.#owner.onReusable(this);
    } else {
      this.#socket.destroy();
    }
  }

  /** Notifies the listener at once, before it passes on a broken response as a complete one. */
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
    // With neither length nor chunks, the end of the connection ends the body (RFC 9112 §6.3, rule 8).
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
