/** Follows the sources of what a gateway decides by: the policy folder, its lists and keys, the certificates. */

import { AccessKeeper } from './certificates/access-keeper.ts';
import { CertificateKeeper } from './certificates/certificate-keeper.ts';
import type { IdentitySummary } from './certificates/identity-summary.ts';
import { formatFault, type PolicyFault } from './core/fault.ts';
import type { DataPlaneSources, SourceChange } from './data-plane.ts';
import { ControlEnd } from './handoff/control-end.ts';
import { CompiledForms } from './handoff/policy-forms.ts';
import type { Accesses, FindAccess } from './lists/server-access.ts';
import type { Log } from './observe/log.ts';
import type { Metrics } from './observe/metrics.ts';
import { describeLists, describePolicy } from './policy/describe.ts';
import { LivePolicy, type LoadedPolicy, type ReloadOutcome } from './policy/live.ts';
import { loadPolicy } from './policy/load.ts';
import type { Policy } from './policy/policy.ts';
import { PolicySources } from './policy/sources.ts';

export interface PolicyFollowerOptions {
  readonly policyFolder: string;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * The policy in force, or the faults that prevented it: at the start, any fault in a file does. If a faulty tenant were
 * left out, other tenants could claim its server names.
 */
export interface FollowOutcome {
  readonly follower?: PolicyFollower;
  readonly faults: readonly PolicyFault[];
}

/** Reads the whole folder, and follows the sources it names from then on. */
export async function followPolicy(options: PolicyFollowerOptions): Promise<FollowOutcome> {
  // No stream depends on a policy that is still being read.
  let hear = (): void => undefined;
  const accesses = new AccessKeeper(options.log);
  const sources = followSources({ ...options, accesses, onChange: () => hear() });
  const forms = new CompiledForms();
  const { policy, faults, ...read } = await loadPolicy(options.policyFolder, Date.now(), {
    sources,
    onCompiled: forms,
  });
  if (policy === undefined || faults.length > 0) {
    sources.close();
    return { faults };
  }
  const follower = new PolicyFollower(options, { ...read, policy }, { sources, accesses }, forms);
  hear = () => follower.tell('facts');
  return { follower, faults };
}

interface FollowedSources {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly accesses: Accesses;
  readonly onChange: () => void;
}

/** The sources a gateway loads its policy from; the caller closes them. */
function followSources({ log, metrics, accesses, onChange }: FollowedSources): PolicySources {
  return new PolicySources({
    mode: 'follow',
    accesses,
    onList: ({ place, faults }) => {
      for (const fault of faults)
        log.error(
          { fault: formatFault(fault) },
          'a list was not updated, its last good version, if any, stays in force',
        );
      if (faults.length === 0) log.info({ list: place }, 'a list was read');
      onChange();
    },
    onListWarning: ({ place }, warning) => log.warn({ list: place, warning }, 'a list needs attention'),
    onTenants: ({ place, revision, fault }) => {
      metrics.etcdTenants(fault === undefined);
      if (fault !== undefined)
        log.error(
          { place, fault },
          'the tenants in etcd cannot be read, their last known version stays in force',
        );
      else log.info({ place, revision }, 'the tenants in etcd were read');
    },
    keys: {
      onFetch: (issuer, fault) => {
        metrics.jwksFetch(issuer, fault === undefined ? 'fetched' : 'failed');
        if (fault !== undefined) log.warn({ issuer, fault }, 'the keys of an issuer could not be fetched');
      },
      onChange: (issuer) => {
        log.info({ issuer }, 'the keys of an issuer changed');
        onChange();
      },
    },
  });
}

/** Runs until `close`. */
export class PolicyFollower implements DataPlaneSources {
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #live: LivePolicy;
  readonly #sources: PolicySources;
  readonly #forms: CompiledForms;
  #control: ControlEnd | undefined;
  readonly #certificates: CertificateKeeper;
  /** Finds the TLS settings and credentials for an etcd or Redis server. */
  readonly findAccess: FindAccess;
  readonly #hearers: ((change: SourceChange) => void)[] = [];

  constructor(
    { policyFolder, log, metrics }: PolicyFollowerOptions,
    loaded: LoadedPolicy,
    { sources, accesses }: { readonly sources: PolicySources; readonly accesses: AccessKeeper },
    forms: CompiledForms,
  ) {
    this.findAccess = accesses.find;
    this.#log = log;
    this.#metrics = metrics;
    this.#sources = sources;
    this.#forms = forms;
    const onReload = (outcome: ReloadOutcome): void => this.#onReload(outcome);
    this.#live = new LivePolicy(policyFolder, loaded, sources, Date.now, onReload, forms);
    this.#certificates = new CertificateKeeper({
      policy: this.policy,
      log,
      onChange: () => this.tell('facts'),
      otherExpiries: () => accesses.expiries,
      // With workers there is no limit: identities are released when no worker has them.
      capacity: () =>
        this.#control === undefined ? this.policy().gateway.limits.serverNames : Number.POSITIVE_INFINITY,
    });
    this.#tellReading(this.#live.outcome);
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
    this.#control?.changed();
    for (const hear of this.#hearers) hear(change);
  }

  /** From here on, changes in etcd take effect. */
  follow(): void {
    this.#live.follow();
  }

  /** Whether the tenants in etcd, if there are any, were read once. */
  get isReady(): boolean {
    return this.#sources.tenants.isReady;
  }

  /** The policy in force, and all current faults of its sources: for `/policy`. */
  get status(): object {
    return describePolicy(this.#live.current, this.#sources.tenants.state, this.#faults);
  }

  /** Begins to hand the policy, certificates and ticket secret (32 random bytes) on to workers. */
  handoff(ticketSecret: Buffer, onFault: (fault: string) => void): ControlEnd {
    this.#control = new ControlEnd({
      policy: this.policy,
      forms: this.#forms,
      sources: this.#sources,
      identities: this.#certificates,
      ticketSecret,
      onFault,
    });
    return this.#control;
  }

  /** Called if there are no workers to hand anything on to. */
  keepToItself(): void {
    this.#forms.close();
  }

  /** Reads the certificates that the first request needs. */
  readCertificates(): Promise<void> {
    return this.#certificates.follow();
  }

  /** Reloads the policy and changed certificates; requests in flight keep the policy they began with. */
  async reload(): Promise<ReloadOutcome> {
    const outcome = await this.#live.reload();
    await this.#certificates.refresh();
    return outcome;
  }

  /** The faults of the last reload, and of every list, key and certificate that could not be updated. */
  get #faults(): readonly PolicyFault[] {
    return [...this.#live.faults, ...this.#sources.faults, ...this.#certificates.faults];
  }

  /** The certificates of the server names in use. */
  certificates(): readonly IdentitySummary[] {
    return this.#certificates.summaries();
  }

  /** Updates the gauges of certificates and address lists. */
  observe(): void {
    this.#certificates.observe(this.#metrics);
    this.#metrics.addressLists([...this.#live.current.tenants.values()].flatMap(describeLists));
  }

  close(): void {
    this.#live.close();
    this.#control?.close();
    this.#certificates.close();
    this.#sources.close();
  }

  #onReload(outcome: ReloadOutcome): void {
    const { policy, faults } = outcome;
    this.#tellReading(outcome);
    void this.#certificates.follow();
    this.tell('policy');
    this.#log.info({ generation: policy.generation, faults: faults.length }, 'the policy was reloaded');
  }

  #tellReading({ successful, policy: { generation }, news }: ReloadOutcome): void {
    for (const fault of news) this.#log.error({ fault: formatFault(fault) }, 'the policy has a fault');
    this.#metrics.policyRead(generation, successful, Date.now() / 1000);
  }
}
