/** What a gateway decides by, followed at its sources: the policy folder, its lists and keys, the certificates. */

import { CertificateKeeper } from './certificates/certificate-keeper.ts';
import type { IdentitySummary } from './certificates/identity-summary.ts';
import { formatFault, type PolicyFault } from './core/fault.ts';
import type { DataPlaneSources, SourceChange } from './data-plane.ts';
import type { Log } from './observe/log.ts';
import type { Metrics } from './observe/metrics.ts';
import { describeLists } from './policy/describe.ts';
import { LivePolicy, type ReloadOutcome } from './policy/live.ts';
import { loadPolicy } from './policy/load.ts';
import type { Policy } from './policy/policy.ts';
import type { PolicySources } from './policy/sources.ts';
import { followSources } from './stream/follow-sources.ts';

export interface PolicyFollowerOptions {
  readonly policyFolder: string;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** The policy in force, or the faults that kept it from being: at the start any fault does. */
export interface FollowOutcome {
  readonly follower?: PolicyFollower;
  readonly faults: readonly PolicyFault[];
}

/** Reads the folder whole and follows what it names from then on. */
export async function followPolicy(options: PolicyFollowerOptions): Promise<FollowOutcome> {
  // Nothing stands on a policy that is still being read.
  let hear = (): void => undefined;
  const sources = followSources(options.log, options.metrics, () => hear());
  const { policy, faults } = await loadPolicy(options.policyFolder, Date.now(), { sources });
  if (policy === undefined || faults.length > 0) {
    sources.close();
    return { faults };
  }
  const follower = new PolicyFollower(options, policy, sources);
  hear = () => follower.tell('facts');
  return { follower, faults };
}

/** It ends by `close`. */
export class PolicyFollower implements DataPlaneSources {
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #live: LivePolicy;
  readonly #sources: PolicySources;
  readonly #certificates: CertificateKeeper;
  readonly #hearers: ((change: SourceChange) => void)[] = [];

  constructor({ policyFolder, log, metrics }: PolicyFollowerOptions, policy: Policy, sources: PolicySources) {
    this.#log = log;
    this.#metrics = metrics;
    this.#sources = sources;
    this.#live = new LivePolicy(policyFolder, policy, sources, Date.now, (outcome) =>
      this.#onReload(outcome),
    );
    this.#certificates = new CertificateKeeper({
      policy: this.policy,
      log,
      onChange: () => this.tell('facts'),
    });
    this.#observeReading(policy, true);
  }

  readonly policy = (): Policy => this.#live.current;

  get servers(): CertificateKeeper['servers'] {
    return this.#certificates.servers;
  }

  get nodes(): CertificateKeeper['nodes'] {
    return this.#certificates.nodes;
  }

  onChange(hear: (change: SourceChange) => void): void {
    this.#hearers.push(hear);
  }

  tell(change: SourceChange): void {
    for (const hear of this.#hearers) hear(change);
  }

  /** Reads the certificates that have to be there before the first request. */
  readCertificates(): Promise<void> {
    return this.#certificates.follow();
  }

  /** Reads the policy and changed certificates afresh; requests in flight keep the policy they began with. */
  async reload(): Promise<ReloadOutcome> {
    const outcome = await this.#live.reload();
    await this.#certificates.refresh();
    return outcome;
  }

  /** Of the last reload, and of every list, key and certificate that is not what its source has. */
  get faults(): readonly PolicyFault[] {
    return [...this.#live.faults, ...this.#sources.faults, ...this.#certificates.faults];
  }

  /** The certificates of the server names in use. */
  certificates(): readonly IdentitySummary[] {
    return this.#certificates.summaries();
  }

  /** Sets the gauges of what is followed. */
  observe(): void {
    this.#certificates.observe(this.#metrics);
    this.#metrics.addressLists([...this.#live.current.tenants.values()].flatMap(describeLists));
  }

  close(): void {
    this.#certificates.close();
    this.#sources.close();
  }

  #onReload({ successful, policy, faults }: ReloadOutcome): void {
    for (const fault of faults) this.#log.error({ fault: formatFault(fault) }, 'the policy has a fault');
    this.#observeReading(policy, successful);
    void this.#certificates.follow();
    this.tell('policy');
    this.#log.info({ generation: policy.generation, faults: faults.length }, 'the policy was read again');
  }

  #observeReading({ generation, loadedAtMs }: Policy, successful: boolean): void {
    this.#metrics.policyRead(generation, successful, loadedAtMs / 1000);
  }
}
