/** One etcd, shared by everything that follows its keys: its members and the session with them. */

import { EtcdSession } from './etcd-session.ts';
import { type Access, accessTo, type FindAccess, type ServerAccess } from './server-access.ts';

export interface EtcdAddress {
  /** Members of one cluster, asked in turn. */
  readonly endpoints: readonly string[];
  readonly access?: ServerAccess;
}

export class EtcdServer {
  readonly endpoints: readonly string[];
  readonly #find: () => Promise<Access | undefined>;
  readonly #onUnused: (() => void) | undefined;
  #session: EtcdSession | undefined;
  #users = 0;

  /** `onUnused` is called when the last user has left and the connections have been closed. */
  constructor({ endpoints, access }: EtcdAddress, find?: FindAccess, onUnused?: () => void) {
    this.endpoints = endpoints;
    this.#find = () => accessTo(access, find);
    this.#onUnused = onUnused;
  }

  /** Returns the session; a new one if the TLS or password files have changed. Rejects while they cannot be used. */
  async session(): Promise<EtcdSession> {
    const access = await this.#find();
    if (this.#session?.access !== access) {
      this.#session?.retire();
      this.#session = undefined;
    }
    this.#session ??= new EtcdSession(access);
    return this.#session;
  }

  join(): void {
    this.#users += 1;
  }

  leave(): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.#session?.close();
    this.#session = undefined;
    this.#onUnused?.();
  }
}
