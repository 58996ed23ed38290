/** The request body on its way from the caller to the node: counted, and checked if it is a weight patch. */

import { type Denial, deny } from '../core/denial.ts';
import type { Framing, RequestHead } from '../core/facts.ts';
import { trailerLines } from '../core/trailers.ts';
import type { Admission } from '../decide.ts';
import type { CallerConnection } from '../edge/caller-connection.ts';
import type { BodySink } from '../http1/body-reader.ts';
import { createPatchCheck, type PatchCheck } from '../patch/check.ts';
import type { PatchFault } from '../patch/fault.ts';
import type { NodeConnection } from '../relay/node-connection.ts';
import { Forwarded } from './forwarded.ts';
import { CRLF, chunkedEnd, chunkStart, SMALL_BYTES, smallChunk } from './framing.ts';
import type { SendingPace } from './pace.ts';

/** Notified of the progress of an upload; after its end or a refusal nothing more is reported. */
export interface UploadWatcher {
  /** Bytes moved. */
  onProgress(): void;
  onUploadEnd(): void;
  /** The body breaks a rule. The node has not seen its end. */
  onUploadDenied(denial: Denial): void;
  /** The node is slower than the caller. */
  onNodeBusy(): void;
}

export interface UploadRules {
  readonly framing: Framing;
  /** Absent means unbounded. */
  readonly maxBytes?: number;
  /** Absent means the bytes are not checked. */
  readonly check?: PatchCheck;
  /** Trailers that are forwarded; absent means none. */
  readonly trailers?: ReadonlySet<string>;
  /** Whether the bytes are paid for from a budget as they come. */
  readonly isMetered: boolean;
}

/** A tunnel carries plain bytes until it closes. */
export const TUNNEL_RULES: UploadRules = { framing: { kind: 'close' }, isMetered: false };

/** The rules for the body of an admitted request. */
export function uploadRules(head: RequestHead, admission: Admission): UploadRules {
  const { stream } = admission.route;
  return {
    framing: head.framing,
    isMetered: admission.route.limits?.bytes !== undefined,
    ...(stream?.maxBytes !== undefined && { maxBytes: stream.maxBytes }),
    ...(stream?.trailers !== undefined && { trailers: stream.trailers }),
    ...(stream?.format === 'weight-patch' && {
      check: createPatchCheck(stream.check, admission.patch),
    }),
  };
}

/** Passes body bytes on in the buffers they came in. A check may hold some back until it has a verdict. */
export class Upload implements BodySink {
  readonly #caller: CallerConnection;
  readonly #node: NodeConnection;
  readonly #rules: UploadRules;
  readonly #watcher: UploadWatcher;
  readonly #pace: SendingPace | undefined;
  #stopped = false;
  #hasRoom = true;
  #held = false;
  #bytes = 0;
  readonly forwarded = new Forwarded();
  /** The memory of the current piece, and whether it was copied there. */
  #memory: ArrayBufferLike | undefined;
  #isCopy = false;

  /** `pace` is notified when the caller is waited for, and when not. */
  constructor(
    caller: CallerConnection,
    node: NodeConnection,
    rules: UploadRules,
    watcher: UploadWatcher,
    pace?: SendingPace,
  ) {
    this.#caller = caller;
    this.#node = node;
    this.#rules = rules;
    this.#watcher = watcher;
    this.#pace = pace;
    pace?.wait();
  }

  /** Reading from the caller is paused until the node reads again. */
  get held(): boolean {
    return this.#held;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isMetered(): boolean {
    return this.#rules.isMetered;
  }

  get check(): PatchCheck | undefined {
    return this.#rules.check;
  }

  /** Takes no more from the caller and reports nothing more. */
  stop(): void {
    this.#stopped = true;
  }

  onBody(bytes: Buffer): void {
    if (this.#stopped) return;
    this.#bytes += bytes.length;
    this.#memory = bytes.buffer;
    this.#isCopy = this.#caller.input.isCopy(bytes);
    const { maxBytes, check } = this.#rules;
    if (maxBytes !== undefined && this.#bytes > maxBytes) {
      this.#deny(deny('stream', 'body-too-large', `The body is larger than ${maxBytes} bytes.`));
      return;
    }
    if (check === undefined) this.#forward(bytes);
    else this.#judge(check.accept(bytes, this.#forward));
    // A quiet stream must not keep memory that was given up meanwhile.
    this.#memory = undefined;
    this.#watcher.onProgress();
  }

  onBodyEnd(trailers: readonly string[]): void {
    if (this.#stopped) return;
    this.#judge(this.#rules.check?.finish(this.#forward));
    if (this.#stopped) return;
    const { framing, trailers: asked } = this.#rules;
    if (framing.kind === 'chunked')
      this.#node.write(chunkedEnd(asked === undefined ? '' : trailerLines(trailers, asked)));
    this.#pace?.rest();
    this.#stopped = true;
    this.#node.endRequest();
    // No more body comes to resume reading, and a caller that is not read from could leave unnoticed.
    if (this.#held || !this.#hasRoom) this.#caller.resumeBody();
    this.#watcher.onUploadEnd();
  }

  /** The node reads again. */
  resume(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#readOn();
  }

  /** While there is no room, nothing more is read, whether or not the node reads. */
  setRoom(hasRoom: boolean): void {
    if (hasRoom === this.#hasRoom) return;
    this.#hasRoom = hasRoom;
    if (hasRoom) this.#readOn();
    else if (!this.#held && !this.#stopped) this.#pause();
  }

  #pause(): void {
    this.#pace?.rest();
    this.#caller.pauseBody();
  }

  #readOn(): void {
    if (this.#stopped || this.#held || !this.#hasRoom) return;
    this.#pace?.wait();
    this.#caller.resumeBody();
  }

  readonly #forward = (bytes: Buffer): void => {
    if (this.#stopped || bytes.length === 0) return;
    const isChunk = this.#rules.framing.kind === 'chunked';
    const isText = isChunk && bytes.length < SMALL_BYTES;
    this.forwarded.count(bytes.length, isText || this.#isCopy || bytes.buffer !== this.#memory);
    let flows: boolean;
    if (isText) flows = this.#node.write(smallChunk(bytes));
    else if (isChunk) flows = this.#writeChunk(bytes);
    else flows = this.#node.write(bytes, this.#caller.input.hold(bytes));
    if (flows || this.#held) return;
    this.#held = true;
    this.#pause();
    this.#watcher.onNodeBusy();
  };

  #writeChunk(bytes: Buffer): boolean {
    this.#node.write(chunkStart(bytes.length));
    this.#node.write(bytes, this.#caller.input.hold(bytes));
    return this.#node.write(CRLF);
  }

  #judge(fault: PatchFault | undefined): void {
    if (fault !== undefined) this.#deny(patchDenial(fault));
  }

  #deny(denial: Denial): void {
    this.#stopped = true;
    this.#watcher.onUploadDenied(denial);
  }
}

function patchDenial(fault: PatchFault): Denial {
  const { rule, status, detail, frame, offset } = fault;
  const cause = `${rule} in frame ${frame} at ${offset}`;
  return deny('stream', 'patch-invalid', detail, {
    status,
    cause,
    extension: { fault: rule, frame, offset },
  });
}
