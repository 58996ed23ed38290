/** Sends from the control plane to one data plane: few messages at a time; what remains is computed, not queued. */

import { readDataMessage } from './data-messages.ts';
import { IdentityDesk, type IdentitySupply, type Outgoing } from './identity-desk.ts';
import { Ledger, type LedgerOptions } from './ledger.ts';
import type { DataMessage, MessageSink, StoreName } from './messages.ts';
import { messagesOf, type ParcelMessage, type PieceMessage } from './parcel.ts';

export interface ControlLinkOptions extends LedgerOptions {
  readonly channel: MessageSink;
  readonly ticketSecret: Buffer;
  /** Returns undefined for what a data plane may not ask for. */
  readonly find: (store: StoreName, label: string, key: string) => IdentitySupply | undefined;
  /** This data plane no longer has the identity. */
  readonly onReleased: (store: StoreName, key: string) => void;
  readonly onClosed: () => void;
  readonly onFault: (fault: string) => void;
}

type Messages = Iterator<ParcelMessage | PieceMessage, void, void>;

/** Limit on messages sent and not yet acknowledged (`taken`): a stalled data plane costs no more memory than these. */
const UNDER_WAY = 8;
/** Unanswered `renew` questions accepted beyond the legitimate ones, which are one of each kind for each key set. */
const MAX_QUESTIONS = 1000;
const KINDS_OF_QUESTION = 2;

export class ControlLink {
  readonly #options: ControlLinkOptions;
  readonly #ledger: Ledger;
  readonly #desk: IdentityDesk;
  readonly #answers: Outgoing[] = [];
  #questions = 0;
  #underWay = 0;
  #nextId = 0;
  /** Answers that callers wait for; sent before `#news`. */
  #urgent: Messages | undefined;
  #news: Messages | undefined;
  /** Something may have changed since the last computation of differences began. */
  #stale = false;
  #generation: number | undefined;
  #pumping = false;
  #closed = false;
  readonly #settled: (() => void)[] = [];

  constructor(options: ControlLinkOptions) {
    this.#options = options;
    this.#ledger = new Ledger(options);
    this.#desk = new IdentityDesk(options.find, () => this.#pump());
    this.#answers.push({
      about: { kind: 'secret' },
      parcel: { head: options.ticketSecret, columns: [] },
    });
  }

  /** The generation of the policy in force in the data plane; undefined before the first. */
  get generation(): number | undefined {
    return this.#generation;
  }

  /** Resolves when the data plane has everything in force now, or is gone. */
  settled(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#settled.push(resolve);
    this.#settle();
    return promise;
  }

  has(store: StoreName, key: string): boolean {
    return this.#desk.has(store, key);
  }

  /** Something may have changed: sends the differences. */
  look(): void {
    this.#stale = true;
    this.#desk.look();
    this.#pump();
  }

  /** Takes a message from the data plane. Never throws. */
  receive(received: unknown): void {
    if (this.#closed) return;
    const message = readDataMessage(received);
    if (message === undefined) this.#options.onFault('invalid message');
    else this.#take(message);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#settle();
    this.#options.onClosed();
    for (const { store, key } of this.#desk.clear()) this.#options.onReleased(store, key);
  }

  #take(message: DataMessage): void {
    switch (message.kind) {
      case 'taken':
        this.#underWay = Math.max(0, this.#underWay - 1);
        this.#pump();
        this.#settle();
        break;
      case 'in-force':
        this.#generation = message.generation;
        break;
      case 'want':
        this.#desk.want(message.store, message.label, message.key);
        break;
      case 'release':
        this.#desk.release(message.store, message.key);
        this.#options.onReleased(message.store, message.key);
        break;
      case 'renew':
        void this.#renew(message);
        break;
    }
  }

  #settle(): void {
    const isBusy = this.#stale || this.#news !== undefined || this.#underWay > 0;
    if (isBusy && !this.#closed) return;
    for (const resolve of this.#settled.splice(0)) resolve();
  }

  /** The key set decides whether to fetch; its keys are then sent before the answer. */
  async #renew({ id, reason, question }: Extract<DataMessage, { kind: 'renew' }>): Promise<void> {
    const { sets } = this.#options.sources.keys;
    // A dropped question leaves its asker waiting, so only more than any correct data plane asks are dropped.
    if (this.#questions >= MAX_QUESTIONS + KINDS_OF_QUESTION * sets.size) return;
    this.#questions += 1;
    const set = sets.get(id);
    await set?.renew(reason);
    // Undefined if the current policy no longer names the set; that policy is on its way.
    const quietMs = set?.quietMs(reason) ?? 0;
    this.#answers.push(...this.#ledger.keys(id), {
      about: { kind: 'renewed', question, quietMs },
      parcel: { head: undefined, columns: [] },
    });
    this.#pump();
  }

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (!this.#closed && this.#underWay < UNDER_WAY) {
      const message = this.#nextUrgent() ?? this.#nextNews();
      if (message === undefined) break;
      this.#underWay += 1;
      try {
        this.#options.channel.send(message);
      } catch (error) {
        this.#options.onFault(String(error));
        this.close();
      }
    }
    this.#pumping = false;
  }

  #nextUrgent(): ParcelMessage | PieceMessage | undefined {
    for (;;) {
      if (this.#urgent === undefined && this.#answers.length === 0 && !this.#desk.isDue) return undefined;
      this.#urgent ??= this.#messages(this.#urgentParcels());
      const { value } = this.#urgent.next();
      if (value !== undefined) return value;
      this.#urgent = undefined;
    }
  }

  #nextNews(): ParcelMessage | PieceMessage | undefined {
    for (;;) {
      if (this.#news === undefined && !this.#stale) return undefined;
      if (this.#news === undefined) this.#stale = false;
      this.#news ??= this.#messages(this.#ledger.differences());
      const { value } = this.#news.next();
      if (value !== undefined) return value;
      this.#news = undefined;
    }
  }

  *#urgentParcels(): Generator<Outgoing, void, void> {
    for (let answer = this.#answers.shift(); answer !== undefined; answer = this.#answers.shift()) {
      if (answer.about.kind === 'renewed') this.#questions -= 1;
      yield answer;
    }
    yield* this.#desk.outgoing();
  }

  *#messages(parcels: Iterable<Outgoing>): Generator<ParcelMessage | PieceMessage, void, void> {
    for (const { about, parcel } of parcels) yield* messagesOf(this.#nextId++, about, parcel);
  }
}
