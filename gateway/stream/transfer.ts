/** An admitted request in progress: finds a node, sends the body up and the response down, or opens a tunnel. */

import { Expiring } from '../core/deadlines.ts';
import { type Denial, deny } from '../core/denial.ts';
import type { CallListener } from '../edge/call-listener.ts';
import type { ResponseHead } from '../http1/response.ts';
import { switchFault } from '../http1/websocket.ts';
import type { NodeConnection } from '../relay/node-connection.ts';
import type { NodeWaiter } from '../relay/node-request.ts';
import type { NodeFault } from '../relay/response-listener.ts';
import { CALLER_GONE } from './account.ts';
import type { Cargo, TransferContext } from './cargo.ts';
import { Download, type DownloadWatcher } from './download.ts';
import { CONTINUE_TEXT, upstreamText } from './heads.ts';
import { Recourse } from './recourse.ts';
import { isSupervised, Supervision, type SupervisionWatcher } from './supervision.ts';
import type { TransferWatcher } from './transfer-watcher.ts';
import { TUNNEL_RULES, Upload, type UploadWatcher, uploadRules } from './upload.ts';

export class Transfer
  extends Expiring
  implements CallListener, NodeWaiter, UploadWatcher, DownloadWatcher, SupervisionWatcher
{
  readonly #context: TransferContext;
  readonly #cargo: Cargo;
  readonly #watcher: TransferWatcher;
  #node: NodeConnection | undefined;
  #upload: Upload | undefined;
  #download: Download | undefined;
  readonly #supervision: Supervision | undefined;
  readonly #recourse: Recourse;
  #isTunnel = false;
  #hasRoom = true;
  /** The whole request was sent, and its response has not begun. */
  #awaitsResponse = false;
  #isBudgetAsked = false;
  #stopped = false;

  constructor(context: TransferContext, cargo: Cargo, watcher: TransferWatcher) {
    super();
    this.#context = context;
    this.#cargo = cargo;
    this.#watcher = watcher;
    const { admission, lease } = cargo;
    this.#recourse = new Recourse(context.pools, admission, this);
    if (isSupervised(admission.route))
      this.#supervision = new Supervision(admission, lease, context.deadlines, this);
  }

  /** The response head was passed on: from now on a failure can only be signalled by breaking the connection. */
  get begun(): boolean {
    return this.#download?.begun === true;
  }

  /** The status the caller has seen. */
  get status(): number {
    return this.#download?.begun ? this.#download.status : CALLER_GONE;
  }

  get bytesIn(): number {
    return this.#upload?.bytes ?? 0;
  }

  get bytesOut(): number {
    return this.#download?.bytes ?? 0;
  }

  get takenBytes(): number {
    return this.bytesOut - this.#cargo.caller.unsentBytes;
  }

  get unsentBytes(): number {
    return this.#node?.unsentBytes ?? 0;
  }

  /** The whole body was passed on; always true for a tunnel, which has no end of its own. */
  get isWhole(): boolean {
    return this.#cargo.caller.bodyDone || this.#isTunnel;
  }

  get mayRetry(): boolean {
    return this.#recourse.mayRetry(this.#cargo.head);
  }

  begin(): void {
    this.#cargo.caller.attach(this);
    this.#recourse.begin();
  }

  /** Takes nothing more from either side and adds what was moved to the account. */
  stop(): void {
    this.#stopped = true;
    this.#context.deadlines.disarm(this);
    this.#supervision?.stop();
    this.#upload?.stop();
    this.#download?.stop();
    this.#cargo.account.streamed(this.#upload, this.#download);
  }

  /** The node sees a reset, never a clean end. `blame`: the node's failure, if it is to blame. */
  resetNode(blame?: string): void {
    this.#node?.reset(blame);
  }

  /** The node gets what was sent, then the end. */
  endNode(): void {
    this.#node?.end();
  }

  onNode(node: NodeConnection, url: string): void {
    if (this.#stopped) return;
    const { caller, head, admission, quotaLines, account } = this.#cargo;
    this.#node = node;
    account.sentTo(url);
    const hasBody = head.framing.kind !== 'none';
    const pace = this.#supervision?.taking;
    this.#download = new Download(caller, node, head, admission.route, this, quotaLines, pace);
    const text = upstreamText(head, admission, account.requestId, this.#context.traces);
    node.begin(head.method, text, hasBody, this.#download);
    if (hasBody) this.#startUpload(node);
    else this.#awaitResponse();
  }

  onNoNode(denial: Denial): void {
    if (this.#stopped) return;
    const instead = this.#recourse.fallBack();
    if (instead === undefined) this.#watcher.onRefusal(denial);
    else if (instead !== true) this.#watcher.onAnswer(instead, denial);
  }

  onUploadEnd(): void {
    if (!this.begun) this.#awaitResponse();
  }

  onUploadDenied(denial: Denial): void {
    this.#watcher.onRefusal(denial);
  }

  onBadBody(reason: string): void {
    this.#refuse('bad-request', `The body framing is invalid: ${reason}.`);
  }

  onResponse(_head: ResponseHead): boolean {
    this.#awaitsResponse = false;
    this.#touch();
    return this.#cargo.head.keepAlive && this.#cargo.caller.bodyDone && !this.#context.draining();
  }

  onSwitch(head: ResponseHead): boolean {
    const node = this.#node;
    if (node === undefined) return false;
    const cause = switchFault(this.#cargo.head, head.fields);
    if (cause !== undefined) {
      this.#refuseNode('node-failed', 'The node did not switch to the requested protocol.', cause);
      return false;
    }
    this.#upload = new Upload(this.#cargo.caller, node, TUNNEL_RULES, this);
    if (!this.#cargo.caller.openTunnel(this.#upload)) {
      this.#refuse('bad-request', 'Bytes arrived before the protocol switch.');
      return false;
    }
    this.#isTunnel = true;
    this.#awaitsResponse = false;
    this.#touch();
    return true;
  }

  onDownloadEnd(mayReuse: boolean): void {
    this.#watcher.onComplete(mayReuse);
  }

  onNodeFault(fault: NodeFault): void {
    const cause = `${this.#cargo.account.node}: ${fault.reason}`;
    if (this.begun) this.#watcher.onBroken('upstream', cause);
    else if (!this.#retry(fault))
      this.#refuseNode('node-failed', 'The node failed before it answered.', cause);
  }

  /** A caller may end its tunnel; leaving at any other time breaks the exchange. */
  onCallerGone(atEnd: boolean): void {
    if (atEnd && this.#isTunnel) this.#watcher.onLeft();
    else this.#watcher.onBroken('caller', 'the caller closed the connection');
  }

  onCallerDrain(): void {
    this.#touch();
    this.#download?.resume();
  }

  onNodeDrain(): void {
    this.#touch();
    this.#upload?.resume();
  }

  onNodeBusy(): void {
    this.#context.metrics.backpressure('caller');
  }

  onCallerBusy(): void {
    this.#context.metrics.backpressure('node');
  }

  onProgress(): void {
    this.#touch();
    this.#supervision?.onBytes();
  }

  onRoom(hasRoom: boolean): void {
    if (hasRoom && !this.#hasRoom) this.#touch();
    this.#hasRoom = hasRoom;
    this.#setFlow();
  }

  onBudgetAsked(isAsked: boolean): void {
    if (!isAsked) this.#touch();
    this.#isBudgetAsked = isAsked;
    this.#setFlow();
  }

  onCut(denial: Denial): void {
    this.#watcher.onRefusal(denial);
  }

  onTunnelOver(): void {
    this.#watcher.onBroken('gateway', 'the tunnel has reached its maximum lifetime');
  }

  /** Nothing moved for too long: blames the side that was waited for. Room and budget have time limits of their own. */
  override expire(): void {
    if (!this.#hasRoom || this.#isBudgetAsked) this.#touch();
    else if (this.#isTunnel) this.#watcher.onBroken('gateway', 'the tunnel was idle for too long');
    else if (this.#download?.begun) this.#breakStill(this.#download);
    else if (this.#cargo.caller.bodyDone || this.#upload?.held || this.unsentBytes > 0)
      this.#refuseNode('node-timeout', 'The node did not answer in time.');
    else this.#refuse('stream-idle', 'No body bytes arrived in time.');
  }

  #breakStill({ held }: Download): void {
    if (held) this.#watcher.onBroken('caller', 'the caller stopped reading');
    else this.#watcher.onBroken('upstream', 'the node stopped sending');
  }

  #refuse(code: 'bad-request' | 'stream-idle', detail: string): void {
    this.#watcher.onRefusal(deny('stream', code, detail));
  }

  #refuseNode(code: 'node-failed' | 'node-timeout', detail: string, cause?: string): void {
    this.#watcher.onRefusal(deny('node', code, detail, cause === undefined ? {} : { cause }));
  }

  #startUpload(node: NodeConnection): void {
    const { caller, head, admission } = this.#cargo;
    this.#awaitsResponse = false;
    const upload = new Upload(caller, node, uploadRules(head, admission), this, this.#supervision?.sending);
    this.#upload = upload;
    if (head.expectsContinue) caller.write(CONTINUE_TEXT);
    this.#touch();
    caller.readBody(upload);
  }

  #awaitResponse(): void {
    this.#awaitsResponse = true;
    this.#touch();
  }

  #retry(fault: NodeFault): boolean {
    this.#node = undefined;
    const { head, account } = this.#cargo;
    return this.#recourse.retry(head, fault, account.node);
  }

  #setFlow(): void {
    const flows = this.#hasRoom && !this.#isBudgetAsked;
    this.#upload?.setRoom(flows);
    this.#download?.setRoom(flows);
  }

  #touch(): void {
    if (!this.#stopped) this.#context.deadlines.arm(this, this.#patienceMs());
  }

  /** A node that has the whole request gets `firstByteMs`; everything else the idle time. */
  #patienceMs(): number {
    const { admission, streamIdleMs } = this.#cargo;
    if (this.#awaitsResponse) return this.#recourse.upstream.firstByteMs;
    return this.#isTunnel ? (admission.route.upgrade?.idleMs ?? streamIdleMs) : streamIdleMs;
  }
}
