/** What a gateway decides by, followed at its sources: the policy folder, its lists and keys, the certificates. */

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
 * The policy in force, or the faults that kept it from being: at the start any fault in a file does. A tenant that was left
 * out would leave its server names to whoever else asks for them.
 */
export interface FollowOutcome {
  readonly follower?: PolicyFollower;
  readonly faults: readonly PolicyFault[];
}

/** Reads the folder whole and follows what it names from then on. */
export async function followPolicy(options: PolicyFollowerOptions): Promise<FollowOutcome> {
  // Nothing stands on a policy that is still being read.
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

/** The sources a gateway loads its policy from; whoever asked for them closes them. */
function followSources({ log, metrics, accesses, onChange }: FollowedSources): PolicySources {
  return new PolicySources({
    mode: 'follow',
    accesses,
    onList: ({ place, faults }) => {
      for (const fault of faults)
        log.error({ fault: formatFault(fault) }, 'a list is not what its source has');
      if (faults.length === 0) log.info({ list: place }, 'a list was read');
      onChange();
    },
    onListWarning: ({ place }, warning) => log.warn({ list: place, warning }, 'address list needs attention'),
    onTenants: ({ place, revision, fault }) => {
      metrics.etcdTenants(fault === undefined);
      if (fault !== undefined)
        log.error(
          { place, fault },
          'the tenants in etcd cannot be read: what is known of them stays in force',
        );
      else log.info({ place, revision }, 'the tenants in etcd were read');
    },
    keys: {
      onFetch: (issuer, fault) => {
        metrics.jwksFetch(issuer, fault === undefined ? 'fetched' : 'failed');
        if (fault !== undefined) log.warn({ issuer, fault }, 'the keys of an issuer were not fetched');
      },
      onChange: (issuer) => {
        log.info({ issuer }, 'the keys of an issuer have changed');
        onChange();
      },
    },
  });
}

/** It ends by `close`. */
export class PolicyFollower implements DataPlaneSources {
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #live: LivePolicy;
  readonly #sources: PolicySources;
  readonly #forms: CompiledForms;
  #control: ControlEnd | undefined;
  readonly #certificates: CertificateKeeper;
  /** What is shown to etcd and Redis. */
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
      // What workers do not have any more is released by them.
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

  /** From here on what changes in etcd is put in force. */
  follow(): void {
    this.#live.follow();
  }

  /** Every tenant there may be was read once. */
  get isReady(): boolean {
    return this.#sources.tenants.isReady;
  }

  /** What is in force, and all that is wrong with what is followed: for `/policy`. */
  get status(): object {
    return describePolicy(this.#live.current, this.#sources.tenants.state, this.#faults);
  }

  /** Hands all of it on to workers, and the secret of their session tickets: 32 random bytes. */
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

  /** Nothing is handed on. */
  keepToItself(): void {
    this.#forms.close();
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
  get #faults(): readonly PolicyFault[] {
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
    this.#log.info({ generation: policy.generation, faults: faults.length }, 'the policy was read again');
  }

  #tellReading({ successful, policy: { generation }, news }: ReloadOutcome): void {
    for (const fault of news) this.#log.error({ fault: formatFault(fault) }, 'the policy has a fault');
    this.#metrics.policyRead(generation, successful, Date.now() / 1000);
  }
}
