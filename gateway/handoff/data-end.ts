/** The data plane's end of a handoff: the policy, lists, keys and certificates that the control plane has sent. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { type NodeIdentity, nodeIdentitySource, upstreamsOverTls } from '../certificates/node-identity.ts';
import type { ServerIdentity } from '../certificates/server-identity.ts';
import type { RenewalReason } from '../keys/key-set.ts';
import { policyOf } from '../policy/assemble.ts';
import type { Policy, Tenant } from '../policy/policy.ts';
import { HandedIdentities } from './handed-identities.ts';
import { HandedKeys } from './handed-keys.ts';
import { HandedLists } from './handed-lists.ts';
import { unpackNodeIdentity, unpackServerIdentity } from './identity-forms.ts';
import {
  type AboutParcel,
  type DataMessage,
  type MessageSink,
  readAbout,
  readParcelMessage,
  type StoreName,
} from './messages.ts';
import { type Delivery, type Parcel, ParcelReceiver } from './parcel.ts';
import { compileHandedGateway, compileHandedTenant } from './policy-forms.ts';

export interface DataEndOptions {
  readonly channel: MessageSink;
  /** A message could not be used; what was in force stays in force. */
  readonly onFault?: (fault: string) => void;
}

/** `policy`: a new policy is in force; `facts`: new lists, keys or certificates, on which admissions depend. */
export type HandedChange = 'policy' | 'facts';

/** A policy without its tenants, which are sent before it. */
export interface PolicyHead extends Pick<Policy, 'generation' | 'digest' | 'loadedAtMs'> {
  /** Absent if the settings have not changed. */
  readonly gateway?: Parcel;
  /** All tenants in order, including unchanged ones. */
  readonly tenants: readonly (readonly [name: string, digest: string])[];
}

export class DataEnd {
  /** Identities of server names, shown to callers. */
  readonly servers: HandedIdentities<ServerIdentity>;
  /** Identities of upstreams, shown to nodes. */
  readonly nodes: HandedIdentities<NodeIdentity>;
  readonly #options: DataEndOptions;
  readonly #hearers: ((change: HandedChange) => void)[] = [];
  readonly #receiver = new ParcelReceiver();
  readonly #lists = new HandedLists();
  readonly #keys = new HandedKeys((id, reason) => this.#ask(id, reason));
  readonly #sources = { mode: 'follow', lists: this.#lists, keys: this.#keys } as const;
  readonly #started = Promise.withResolvers<Policy>();
  readonly #questions = new Map<number, (quietMs: number) => void>();
  /** Compiled tenants that are not in force yet, by name and digest. */
  readonly #compiled = new Map<string, Tenant>();
  #policy: Policy | undefined;
  #ticketSecret: Buffer | undefined;
  /** Runs compilations one after another. */
  #work: Promise<void> = Promise.resolve();
  #nextQuestion = 0;
  #closed = false;

  constructor(options: DataEndOptions) {
    this.#options = options;
    const send = (message: DataMessage): void => this.#send(message);
    this.servers = new HandedIdentities({
      store: 'servers',
      capacity: () => this.policy().gateway.limits.serverNames,
      unpack: unpackServerIdentity,
      send,
    });
    this.nodes = new HandedIdentities({
      store: 'nodes',
      capacity: () => Number.POSITIVE_INFINITY,
      unpack: unpackNodeIdentity,
      send,
    });
    this.#started.promise.catch(() => undefined);
  }

  /** Resolves to the first policy in force; rejects if closed before there is one. */
  get started(): Promise<Policy> {
    return this.#started.promise;
  }

  /** The policy in force. Throws before there is one. */
  readonly policy = (): Policy => {
    if (this.#policy === undefined) throw new Error('no policy is in force yet');
    return this.#policy;
  };

  /** Calls `hear` after every change, once it is in force. */
  onChange(hear: (change: HandedChange) => void): void {
    this.#hearers.push(hear);
  }

  /** The secret of session tickets, the same in all data planes of a gateway. Throws before the first policy. */
  get ticketSecret(): Buffer {
    if (this.#ticketSecret === undefined) throw new Error('no ticket secret was received yet');
    return this.#ticketSecret;
  }

  /** Takes a message from the control plane. Never throws. */
  receive(received: unknown): void {
    if (this.#closed) return;
    try {
      if (this.#receive(received)) return;
    } catch (error) {
      this.#fault(String(error));
    }
    this.#send({ kind: 'taken' });
  }

  /** Returns true if queued work acknowledges the message when it is done. */
  #receive(received: unknown): boolean {
    const message = readParcelMessage(received);
    if (message === undefined) throw new TypeError('invalid message');
    const delivery = this.#receiver.take(message);
    if (delivery === undefined) return false;
    const about = readAbout(delivery.about);
    if (about === undefined) throw new TypeError('unknown kind of parcel');
    return this.#begins(about, delivery);
  }

  /** What is in force stays in force; nothing more is received, sent or waited for. */
  close(): void {
    this.#closed = true;
    this.#started.reject(new Error('the control plane is gone'));
    for (const answer of this.#questions.values()) answer(0);
    this.#questions.clear();
    this.servers.close();
    this.nodes.close();
  }

  #begins(about: AboutParcel, parcel: Delivery): boolean {
    switch (about.kind) {
      case 'tenant':
        this.#workOn(() => this.#compile(about, parcel));
        return true;
      case 'policy':
        this.#workOn(() => this.#putInForce(parcel.head as PolicyHead));
        return true;
      case 'gone':
        this.#workOn(this.#lists.leave(about.lists), this.#keys.leave(about.keys));
        return true;
      case 'list':
        this.#lists.take(about, parcel);
        this.#tell('facts');
        return false;
      case 'keys':
        if (this.#keys.take(about, typeof parcel.head === 'string' ? parcel.head : undefined))
          this.#tell('facts');
        return false;
      case 'identity':
        if (this.#takeIdentity(about.store, about.key, about.found ? parcel : undefined)) this.#tell('facts');
        return false;
      case 'renewed':
        this.#answer(about.question, about.quietMs);
        return false;
      case 'secret':
        this.#ticketSecret = Buffer.from(parcel.head as Uint8Array);
        return false;
    }
  }

  #takeIdentity(store: StoreName, key: string, parcel: Parcel | undefined): boolean {
    return store === 'servers' ? this.servers.take(key, parcel) : this.nodes.take(key, parcel);
  }

  /** Queues work on policies and removals, which run in order; lists and keys are taken at once, outside the queue. */
  #workOn(...steps: readonly (() => void | Promise<void>)[]): void {
    this.#work = this.#work.then(async () => {
      try {
        for (const step of steps) await step();
      } catch (error) {
        this.#fault(String(error));
      }
      this.#send({ kind: 'taken' });
      await nextTurn();
    });
  }

  async #compile({ name, digest }: Extract<AboutParcel, { kind: 'tenant' }>, parcel: Parcel): Promise<void> {
    const tenant = await compileHandedTenant(parcel, digest, this.#sources);
    this.#compiled.set(tenantId(name, digest), tenant);
  }

  async #putInForce({ gateway: form, tenants: named, ...head }: PolicyHead): Promise<void> {
    const gateway = form === undefined ? this.policy().gateway : await compileHandedGateway(form);
    const tenants = named.flatMap(([name, digest]) => this.#tenant(name, digest) ?? []);
    const policy = policyOf({ ...head, gateway }, tenants);
    if (this.#closed) return;
    this.#compiled.clear();
    this.#policy = policy;
    this.nodes.retain(new Set(upstreamsOverTls(policy).map((upstream) => nodeIdentitySource(upstream).key)));
    this.#started.resolve(policy);
    this.#tell('policy');
    this.#send({ kind: 'in-force', generation: policy.generation });
  }

  /** An unchanged tenant stays the same object, with its token memory; so does one that could not be compiled. */
  #tenant(name: string, digest: string): Tenant | undefined {
    return this.#compiled.get(tenantId(name, digest)) ?? this.#policy?.tenants.get(name);
  }

  #ask(id: string, reason: RenewalReason): Promise<number> {
    if (this.#closed) return Promise.resolve(0);
    const question = this.#nextQuestion++;
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#questions.set(question, resolve);
    this.#send({ kind: 'renew', id, reason, question });
    return promise;
  }

  #answer(question: number, quietMs: number): void {
    this.#questions.get(question)?.(quietMs);
    this.#questions.delete(question);
  }

  #tell(change: HandedChange): void {
    for (const hear of this.#hearers) hear(change);
  }

  #send(message: DataMessage): void {
    if (this.#closed) return;
    try {
      this.#options.channel.send(message);
    } catch (error) {
      this.#fault(String(error));
    }
  }

  #fault(fault: string): void {
    this.#options.onFault?.(fault);
  }
}

function tenantId(name: string, digest: string): string {
  return `${name} ${digest}`;
}
