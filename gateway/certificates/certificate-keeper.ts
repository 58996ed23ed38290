/** Keeps the certificates of a running gateway: reads them on demand and on change, and warns before they expire. */

import { formatFault, type PolicyFault } from '../core/fault.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Policy } from '../policy/policy.ts';
import { FileWatch } from '../sources/file-watch.ts';
import { type Expiry, ExpiryReminder, nodeExpiries, serverExpiries } from './expiries.ts';
import { type IdentityReading, IdentityStore } from './identity-store.ts';
import { describeIdentity, type IdentitySummary } from './identity-summary.ts';
import { missingFolders } from './missing-folders.ts';
import { type NodeIdentity, nodeIdentitySource, upstreamsOverTls } from './node-identity.ts';
import type { ServerIdentity } from './server-identity.ts';

export interface CertificateKeeperOptions {
  /** The current policy. */
  readonly policy: () => Policy;
  readonly log: Log;
  /** Called when certificates were loaded or replaced. */
  readonly onChange: () => void;
  /** Server names kept loaded; `limits.serverNames` of the policy by default. */
  readonly capacity?: () => number;
  /** Expiries of certificates that are kept elsewhere. */
  readonly otherExpiries?: () => readonly Expiry[];
}

const REMIND_MS = 3_600_000;

export class CertificateKeeper {
  /** Identities of server names, presented to callers. */
  readonly servers: IdentityStore<ServerIdentity>;
  /** Identities of upstreams, presented to nodes. */
  readonly nodes: IdentityStore<NodeIdentity>;
  readonly #policy: () => Policy;
  readonly #log: Log;
  readonly #onChange: () => void;
  readonly #otherExpiries: () => readonly Expiry[];
  readonly #watch = new FileWatch();
  readonly #reminder = new ExpiryReminder();
  readonly #timer: NodeJS.Timeout;
  #missing: readonly PolicyFault[] = [];

  constructor({ policy, log, onChange, capacity, otherExpiries = () => [] }: CertificateKeeperOptions) {
    this.#policy = policy;
    this.#log = log;
    this.#onChange = onChange;
    this.#otherExpiries = otherExpiries;
    const common = {
      watch: this.#watch,
      onReading: (reading: IdentityReading): void => this.#onReading(reading),
    };
    this.servers = new IdentityStore({
      ...common,
      capacity: capacity ?? (() => policy().gateway.limits.serverNames),
    });
    this.nodes = new IdentityStore({ ...common, capacity: () => Number.POSITIVE_INFINITY });
    this.#timer = setInterval(() => this.#remind(), REMIND_MS).unref();
  }

  /**
   * Follows the current policy: checks that its server names have folders, whose files are read on demand, and reads
   * the files of its upstreams.
   */
  async follow(): Promise<void> {
    const policy = this.#policy();
    const sources = upstreamsOverTls(policy).map(nodeIdentitySource);
    this.nodes.retain(new Set(sources.map(({ key }) => key)));
    this.#missing = await missingFolders(policy.gateway.certificates, policy.serverNames.keys());
    for (const fault of this.#missing)
      this.#log.error({ fault: formatFault(fault) }, 'certificate folder missing');
    await Promise.all(sources.map((source) => this.nodes.get(source)));
  }

  /** Reads changed files without waiting for the file watch. */
  async refresh(): Promise<void> {
    await this.#watch.lookNow();
    await Promise.all([this.servers.settled(), this.nodes.settled()]);
  }

  /** Faults of the files read so far, and missing folders. */
  get faults(): readonly PolicyFault[] {
    return [...this.#missing, ...this.servers.faults, ...this.nodes.faults];
  }

  /** Summaries of the server names in use. */
  summaries(): readonly IdentitySummary[] {
    return this.servers.loaded.map(describeIdentity);
  }

  /** Sets the expiry gauges of the certificates in use. */
  observe(metrics: Metrics): void {
    metrics.certificateExpiries(
      this.#expiries().map(({ name, role, expiresMs }) => ({ name, role, seconds: expiresMs / 1000 })),
    );
  }

  close(): void {
    clearInterval(this.#timer);
    this.servers.close();
    this.nodes.close();
    this.#watch.close();
  }

  #onReading({ label: name, outcome, faults }: IdentityReading): void {
    for (const fault of faults) this.#log.error({ fault: formatFault(fault) }, 'certificates cannot be used');
    if (outcome !== 'faulty') {
      this.#log.info({ name, outcome }, 'certificates loaded');
      this.#onChange();
    }
    setImmediate(() => this.#remind());
  }

  #expiries(): readonly Expiry[] {
    return [
      ...this.servers.loaded.flatMap(serverExpiries),
      ...this.nodes.loaded.flatMap(nodeExpiries),
      ...this.#otherExpiries(),
    ];
  }

  #remind(): void {
    for (const { name, role, expiresMs, daysLeft } of this.#reminder.remind(this.#expiries(), Date.now())) {
      const fields = { name, role, ends: new Date(expiresMs).toISOString(), daysLeft };
      this.#log.warn(fields, role === 'crl' ? 'revocation list expires soon' : 'certificate expires soon');
    }
  }
}
