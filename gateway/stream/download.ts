/** The response on its way from the node to the caller, framed anew. */

import type { Framing, RequestHead } from '../core/facts.ts';
import { trailerLines } from '../core/trailers.ts';
import type { CallerConnection } from '../edge/caller-connection.ts';
import { reasonPhrase } from '../http1/reason-phrases.ts';
import type { ResponseHead } from '../http1/response.ts';
import type { Route } from '../policy/policy.ts';
import type { NodeConnection } from '../relay/node-connection.ts';
import type { NodeFault, ResponseListener } from '../relay/response-listener.ts';
import { Forwarded } from './forwarded.ts';
import { CRLF, chunkedEnd, chunkStart, responseFraming, SMALL_BYTES, smallChunk } from './framing.ts';
import { switchText, trailerLine } from './heads.ts';
import type { TakingPace } from './pace.ts';

/** Notified of the progress of a download; after its end or a fault nothing more is reported. */
export interface DownloadWatcher {
  /** The request may be sent on another connection, should this one turn out to be stale. */
  readonly mayRetry: boolean;
  /** The response begins; returns whether the caller's connection may stay open after it. */
  onResponse(head: ResponseHead): boolean;
  /** The node switches protocols as requested; returns whether the caller's side switches too. */
  onSwitch(head: ResponseHead): boolean;
  onProgress(): void;
  onDownloadEnd(mayReuse: boolean): void;
  onNodeFault(fault: NodeFault): void;
  onNodeDrain(): void;
  /** The caller is slower than the node. */
  onCallerBusy(): void;
}

/** Passes response bytes on in the buffers they came in, except for small pieces. */
export class Download implements ResponseListener {
  readonly #caller: CallerConnection;
  readonly #node: NodeConnection;
  readonly #request: RequestHead;
  readonly #route: Route;
  readonly #watcher: DownloadWatcher;
  readonly #pace: TakingPace | undefined;
  readonly #quotaLines: string;
  #hasRoom = true;
  #framing: Framing = { kind: 'none' };
  #mayReuse = false;
  #stopped = false;
  #begun = false;
  #held = false;
  #status = 0;
  #bytes = 0;
  readonly forwarded = new Forwarded();

  /** `quotaLines` are added to the fields of the node's response. */
  constructor(
    caller: CallerConnection,
    node: NodeConnection,
    request: RequestHead,
    route: Route,
    watcher: DownloadWatcher,
    quotaLines: string,
    pace?: TakingPace,
  ) {
    this.#caller = caller;
    this.#node = node;
    this.#request = request;
    this.#route = route;
    this.#watcher = watcher;
    this.#quotaLines = quotaLines;
    this.#pace = pace;
  }

  /** The head was passed on: from now on a failure can only be signalled by breaking the connection. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Reading from the node is paused until the caller reads again. */
  get held(): boolean {
    return this.#held;
  }

  get status(): number {
    return this.#status;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get mayUpgrade(): boolean {
    return this.#route.upgrade !== undefined;
  }

  get mayRetry(): boolean {
    return !this.#stopped && this.#watcher.mayRetry;
  }

  stop(): void {
    this.#stopped = true;
  }

  onResponse(head: ResponseHead): void {
    if (this.#stopped) return;
    this.#framing = callerFraming(head.framing, this.#request.minor);
    this.#mayReuse = this.#watcher.onResponse(head) && this.#framing.kind !== 'close';
    this.#begun = true;
    this.#status = head.status;
    this.#caller.write(this.#headText(head));
  }

  onUpgrade(head: ResponseHead): void {
    const { upgrade } = this.#route;
    if (this.#stopped || upgrade === undefined || !this.#watcher.onSwitch(head)) return;
    this.#framing = { kind: 'close' };
    this.#begun = true;
    this.#status = head.status;
    this.#caller.write(switchText(head.keptLines, upgrade.protocol, this.#quotaLines));
  }

  onBody(bytes: Buffer): void {
    if (this.#stopped) return;
    this.#bytes += bytes.length;
    const isChunk = this.#framing.kind === 'chunked';
    const isText = bytes.length < SMALL_BYTES;
    this.forwarded.count(bytes.length, isText);
    let flows: boolean;
    if (isText) flows = this.#caller.write(isChunk ? smallChunk(bytes) : bytes.toString('latin1'));
    else if (isChunk) flows = this.#writeChunk(bytes);
    else flows = this.#caller.write(bytes, this.#node.hold());
    this.#watcher.onProgress();
    if (flows || this.#held || this.#stopped) return;
    this.#held = true;
    this.#pace?.wait();
    this.#node.pause();
    this.#watcher.onCallerBusy();
  }

  onReadEnd(): void {
    if (!this.#stopped) this.#caller.flush();
  }

  onBodyEnd(trailers: readonly string[]): void {
    if (this.#stopped) return;
    this.#stopped = true;
    const asked = this.#route.stream?.trailers;
    if (this.#framing.kind === 'chunked')
      this.#caller.write(chunkedEnd(asked === undefined ? '' : trailerLines(trailers, asked)));
    this.#watcher.onDownloadEnd(this.#mayReuse);
  }

  onNodeDrain(): void {
    this.#watcher.onNodeDrain();
  }

  onNodeFault(fault: NodeFault): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#watcher.onNodeFault(fault);
  }

  /** The caller reads again. */
  resume(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#pace?.rest();
    this.#readOn();
  }

  /** While there is no room, nothing more is read, whether or not the caller reads. */
  setRoom(hasRoom: boolean): void {
    if (hasRoom === this.#hasRoom) return;
    this.#hasRoom = hasRoom;
    if (hasRoom) this.#readOn();
    else if (!this.#stopped) this.#node.pause();
  }

  #readOn(): void {
    if (!this.#stopped && !this.#held && this.#hasRoom) this.#node.resume();
  }

  #headText(head: ResponseHead): string {
    const framing = this.#framing;
    const asked = this.#route.stream?.trailers;
    const start = `HTTP/1.1 ${head.status} ${reasonPhrase(head.status)}${CRLF}`;
    const trailer = framing.kind === 'chunked' && asked !== undefined ? trailerLine(head.fields, asked) : '';
    const ends =
      responseFraming(head, framing, this.#request.method) + connectionLine(this.#request, this.#mayReuse);
    return start + head.keptLines + this.#quotaLines + trailer + ends + CRLF;
  }

  #writeChunk(bytes: Buffer): boolean {
    this.#caller.write(chunkStart(bytes.length));
    this.#caller.write(bytes, this.#node.hold());
    return this.#caller.write(CRLF);
  }
}

/** A body of unknown length is chunked for HTTP/1.1 and ends with the connection for HTTP/1.0. */
function callerFraming(framing: Framing, minor: 0 | 1): Framing {
  if (framing.kind !== 'chunked' && framing.kind !== 'close') return framing;
  return { kind: minor === 1 ? 'chunked' : 'close' };
}

/** Persistence is the default of HTTP/1.1 and the exception of 1.0 (RFC 9112 §9.3). */
function connectionLine(request: RequestHead, mayReuse: boolean): string {
  if (!mayReuse) return `Connection: close${CRLF}`;
  return request.minor === 0 ? `Connection: keep-alive${CRLF}` : '';
}
