/** Keeps the certificates of a running gateway: read on demand, renewed on change, watched for their end, reported. */

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
  /** The policy in force now. */
  readonly policy: () => Policy;
  readonly log: Log;
  /** Certificates were read that are others than before. */
  readonly onChange: () => void;
  /** Server names kept ready; those of the policy's limits unless given. */
  readonly capacity?: () => number;
  /** Of certificates that are kept elsewhere. */
  readonly otherExpiries?: () => readonly Expiry[];
}

const REMIND_MS = 3_600_000;

export class CertificateKeeper {
  /** What server names show to callers. */
  readonly servers: IdentityStore<ServerIdentity>;
  /** What upstreams show to nodes. */
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
   * Follows the policy now in force: looks for the folders of its server names, of which each is read on demand, and
   * reads what its upstreams need.
   */
  async follow(): Promise<void> {
    const policy = this.#policy();
    const sources = upstreamsOverTls(policy).map(nodeIdentitySource);
    this.nodes.retain(new Set(sources.map(({ key }) => key)));
    this.#missing = await missingFolders(policy.gateway.certificates, policy.serverNames.keys());
    for (const fault of this.#missing)
      this.#log.error({ fault: formatFault(fault) }, 'certificates are missing');
    await Promise.all(sources.map((source) => this.nodes.get(source)));
  }

  /** Reads what has changed without waiting to hear of it. */
  async refresh(): Promise<void> {
    await this.#watch.lookNow();
    await Promise.all([this.servers.settled(), this.nodes.settled()]);
  }

  /** What is wrong with the folders that were asked for, and which are not there. */
  get faults(): readonly PolicyFault[] {
    return [...this.#missing, ...this.servers.faults, ...this.nodes.faults];
  }

  /** The server names in use. */
  summaries(): readonly IdentitySummary[] {
    return this.servers.loaded.map(describeIdentity);
  }

  /** Sets the gauges of what is in use. */
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
      this.#log.info({ name, outcome }, 'certificates were read');
      this.#onChange();
    }
    // The reading is told before its identity can be seen here.
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
      this.#log.warn(fields, role === 'crl' ? 'a revocation list is due soon' : 'a certificate ends soon');
    }
  }
}
