/** The way of a request body: from the caller to the node, counted, and checked where it is a weight patch. */

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

/** Hears how the upload fares; after a refusal or a loss nothing more is reported. */
export interface UploadWatcher {
  /** Bytes moved. */
  onProgress(): void;
  onUploadEnd(): void;
  /** The body breaks a rule; the node has not seen its end. */
  onUploadDenied(denial: Denial): void;
  /** The node is slower than the caller. */
  onNodeBusy(): void;
}

export interface UploadRules {
  readonly framing: Framing;
  /** Absent means unbounded. */
  readonly maxBytes?: number;
  /** Absent means the bytes are not looked at. */
  readonly check?: PatchCheck;
  /** Trailers that go on; absent means none. */
  readonly trailers?: ReadonlySet<string>;
}

/** What goes through a tunnel: bytes. */
export const TUNNEL_RULES: UploadRules = { framing: { kind: 'close' } };

/** What an admitted request's route asks of its body. */
export function uploadRules(head: RequestHead, admission: Admission): UploadRules {
  const { stream } = admission.route;
  return {
    framing: head.framing,
    ...(stream?.maxBytes !== undefined && { maxBytes: stream.maxBytes }),
    ...(stream?.trailers !== undefined && { trailers: stream.trailers }),
    ...(stream?.format === 'weight-patch' && {
      check: createPatchCheck(stream.check, admission.patch),
    }),
  };
}

/** Body bytes go on as the buffers they came in; with a check, what it withholds waits for its verdict. */
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
  /** Where the piece under way lies, and whether it was moved there. */
  #memory: ArrayBufferLike | undefined;
  #isCopy = false;

  /** `pace` is told when the caller is waited for. */
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

  /** Reading from the caller pauses until the node reads on. */
  get held(): boolean {
    return this.#held;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Absent where the bytes are not looked at. */
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
    // Nothing more of the body comes, so nobody would read on: and a caller that is not read from leaves unnoticed.
    if (this.#held || !this.#hasRoom) this.#caller.resumeBody();
    this.#watcher.onUploadEnd();
  }

  /** The node reads again. */
  resume(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#readOn();
  }

  /** Nothing more is read while there is no room for it, whatever the node does. */
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
