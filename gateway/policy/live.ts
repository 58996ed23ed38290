/** The policy in force: one reference, swapped by a reload, never half. */

import { inFileOrder, type PolicyFault } from '../core/fault.ts';
import { type CompilationWatcher, loadPolicy } from './load.ts';
import type { Policy } from './policy.ts';
import type { PolicySources } from './sources.ts';

export interface ReloadOutcome {
  readonly successful: boolean;
  readonly policy: Policy;
  readonly faults: readonly PolicyFault[];
}

/** Holds the current policy and reads it afresh when asked. */
export class LivePolicy {
  readonly #folder: string;
  readonly #sources: PolicySources;
  readonly #nowMs: () => number;
  readonly #onReload: (outcome: ReloadOutcome) => void;
  readonly #onCompiled: CompilationWatcher | undefined;
  #current: Policy;
  #faults: readonly PolicyFault[] = [];
  #running: Promise<ReloadOutcome> | undefined;
  #next: Promise<ReloadOutcome> | undefined;

  /** `policy` was read from `folder`, what it follows is of `sources`; `onReload` hears of every reload, after the swap. */
  constructor(
    folder: string,
    policy: Policy,
    sources: PolicySources,
    nowMs: () => number,
    onReload: (outcome: ReloadOutcome) => void,
    onCompiled?: CompilationWatcher,
  ) {
    this.#folder = folder;
    this.#current = policy;
    this.#sources = sources;
    this.#nowMs = nowMs;
    this.#onReload = onReload;
    this.#onCompiled = onCompiled;
  }

  get current(): Policy {
    return this.#current;
  }

  /** Faults of the last reload. */
  get faults(): readonly PolicyFault[] {
    return this.#faults;
  }

  /**
   * Reads the folder. What has faults keeps its last good version. Calls during a reload share the one after it: the
   * running one may have read already what has changed since.
   */
  reload(): Promise<ReloadOutcome> {
    if (this.#running === undefined) return this.#next ?? this.#start();
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.#start();
      });
    return this.#next;
  }

  #start(): Promise<ReloadOutcome> {
    this.#running = this.#load().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #load(): Promise<ReloadOutcome> {
    const sources = this.#sources;
    await sources.refresh();
    const options = { previous: this.#current, sources, onCompiled: this.#onCompiled };
    const read = await loadPolicy(this.#folder, this.#nowMs(), options);
    this.#current = read.policy ?? this.#current;
    this.#faults = read.faults;
    sources.retain(this.#current);
    // Lists say what is wrong with them whenever it comes about; here it belongs to what was read.
    const faults = inFileOrder([...read.faults, ...sources.faults]);
    const outcome = { successful: faults.length === 0, policy: this.#current, faults };
    this.#onReload(outcome);
    return outcome;
  }
}
