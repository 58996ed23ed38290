/** How a transfer treats its caller and its clock if the last bytes of a body fill the connection to the node. */
import t from 'tap';
import { addressOf } from '../../gateway/core/address.ts';
import { Deadlines } from '../../gateway/core/deadlines.ts';
import type { NodeConnection } from '../../gateway/relay/node-connection.ts';
import type { Cargo, TransferContext } from '../../gateway/stream/cargo.ts';
import { Traces } from '../../gateway/stream/trace.ts';
import { Transfer } from '../../gateway/stream/transfer.ts';
import type { TransferWatcher } from '../../gateway/stream/transfer-watcher.ts';
import type { Upload } from '../../gateway/stream/upload.ts';

const FIRST_BYTE_MS = 5000;
const STREAM_IDLE_MS = 1000;
const framing = { kind: 'length', length: 4 };

/** An upload of four bytes to a node that takes none of them yet, with the orders to its caller. */
class UploadYard {
  readonly deadlines = new Deadlines(0);
  readonly told: string[] = [];
  readonly refusals: string[] = [];
  #upload: Upload | undefined;
  readonly transfer: Transfer;

  constructor() {
    const { deadlines } = this;
    const context = { deadlines, traces: new Traces(), metrics: { backpressure: () => undefined } };
    const watcher = { onRefusal: ({ code }: { code: string }) => void this.refusals.push(code) };
    this.transfer = new Transfer(
      { ...context, draining: () => false } as unknown as TransferContext,
      this.#cargo() as unknown as Cargo,
      watcher as unknown as TransferWatcher,
    );
    const node = {
      begin: () => undefined,
      write: () => false,
      pause: () => undefined,
      resume: () => undefined,
      endRequest: () => undefined,
    };
    this.transfer.onNode(node as unknown as NodeConnection, 'http://node');
  }

  get upload(): Upload {
    if (this.#upload === undefined) throw new Error('no upload was begun');
    return this.#upload;
  }

  #cargo(): object {
    const caller = {
      input: { isCopy: () => false, hold: () => undefined },
      bodyDone: true,
      readBody: (upload: Upload) => {
        this.#upload = upload;
      },
      pauseBody: () => void this.told.push('pause'),
      resumeBody: () => void this.told.push('resume'),
      write: () => true,
      flush: () => undefined,
    };
    const route = { upstream: { firstByteMs: FIRST_BYTE_MS } };
    const client = { address: addressOf(4, [0x7f000001]) };
    const admission = { route, params: {}, client, tenant: { name: 'a' }, connectionOptions: [] };
    const head = { method: 'PUT', target: '/', fields: [], framing, minor: 1, keepAlive: true };
    const account = { sentTo: () => undefined };
    return { caller, head, admission, quotaLines: '', account, streamIdleMs: STREAM_IDLE_MS };
  }
}

t.test('a caller is read again once its body is whole, so that its leaving is noticed', async (t) => {
  const { upload, told } = new UploadYard();
  upload.onBody(Buffer.alloc(4));
  t.same(told, ['pause']);
  upload.onBodyEnd([]);
  t.same(told, ['pause', 'resume']);
});

t.test('a caller without room is read again too once its body is whole', async (t) => {
  const { upload, told } = new UploadYard();
  upload.setRoom(false);
  upload.onBodyEnd([]);
  t.same(told, ['pause', 'resume']);
  upload.setRoom(true);
  t.same(told, ['pause', 'resume']);
});

t.test('a node that takes the last bytes late still has its full time to the first byte', async (t) => {
  const { deadlines, transfer, upload, refusals } = new UploadYard();
  upload.onBody(Buffer.alloc(4));
  t.equal(transfer.dueMs, STREAM_IDLE_MS);
  upload.onBodyEnd([]);
  t.equal(transfer.dueMs, FIRST_BYTE_MS);
  deadlines.sweep(500);
  transfer.onNodeDrain();
  t.equal(transfer.dueMs, 500 + FIRST_BYTE_MS);
  deadlines.sweep(500 + FIRST_BYTE_MS - 1);
  t.same(refusals, []);
  deadlines.sweep(500 + FIRST_BYTE_MS);
  t.same(refusals, ['node-timeout']);
});

t.test('an answer that has begun may pause as long as any stream', async (t) => {
  const { transfer, upload } = new UploadYard();
  upload.onBodyEnd([]);
  t.equal(transfer.onResponse({} as never), true);
  t.equal(transfer.dueMs, STREAM_IDLE_MS);
  transfer.onNodeDrain();
  t.equal(transfer.dueMs, STREAM_IDLE_MS);
});

t.test(
  'while its budget is asked for nobody is to blame, and the caller has all of its time afterwards',
  async (t) => {
    const { deadlines, transfer, upload, refusals } = new UploadYard();
    upload.onBody(Buffer.alloc(3));
    transfer.onBudgetAsked(true);
    for (let turns = 1; turns <= 3; turns++) deadlines.sweep(turns * STREAM_IDLE_MS);
    t.same(refusals, []);
    deadlines.sweep(3.5 * STREAM_IDLE_MS);
    transfer.onBudgetAsked(false);
    t.equal(transfer.dueMs, 4.5 * STREAM_IDLE_MS);
  },
);
