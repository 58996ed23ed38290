/** Keeps the certificates of a running gateway: read on demand, renewed on change, watched for their end, reported. */

import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { formatFault, type PolicyFault } from '../policy/fault.ts';
import type { Policy } from '../policy/policy.ts';
import { FileWatch } from '../sources/file-watch.ts';
import { EndingReminder, endingsOf } from './endings.ts';
import { type IdentityReading, IdentityStore, missingFolders } from './identity-store.ts';
import { describeIdentity, type IdentitySummary } from './identity-summary.ts';

export interface CertificateKeeperOptions {
  /** The policy in force now. */
  readonly policy: () => Policy;
  readonly log: Log;
}

const REMIND_MS = 3_600_000;

export class CertificateKeeper {
  readonly identities: IdentityStore;
  readonly #policy: () => Policy;
  readonly #log: Log;
  readonly #watch = new FileWatch();
  readonly #reminder = new EndingReminder();
  readonly #timer: NodeJS.Timeout;
  #missing: readonly PolicyFault[] = [];

  constructor({ policy, log }: CertificateKeeperOptions) {
    this.#policy = policy;
    this.#log = log;
    this.identities = new IdentityStore({
      capacity: () => policy().gateway.limits.serverNames,
      watch: this.#watch,
      onReading: (reading) => this.#onReading(reading),
    });
    this.#timer = setInterval(() => this.#remind(), REMIND_MS).unref();
  }

  /** Looks for the folders of the server names of the policy now in force; what is in them is read on demand. */
  async lookForFolders(): Promise<void> {
    const { gateway, serverNames } = this.#policy();
    this.#missing = await missingFolders(gateway.certificates, serverNames.keys());
    for (const fault of this.#missing)
      this.#log.error({ fault: formatFault(fault) }, 'certificates are missing');
  }

  /** What is wrong with the folders that were asked for, and which are not there. */
  get faults(): readonly PolicyFault[] {
    return [...this.#missing, ...this.identities.faults];
  }

  /** The server names in use. */
  summaries(): readonly IdentitySummary[] {
    return this.identities.loaded.map(describeIdentity);
  }

  /** Sets the gauges of the server names in use. */
  observe(metrics: Metrics): void {
    const endings = this.identities.loaded.flatMap(endingsOf);
    metrics.certificateEndings(
      endings.map(({ serverName, role, endsMs }) => ({ serverName, role, seconds: endsMs / 1000 })),
    );
  }

  close(): void {
    clearInterval(this.#timer);
    this.identities.close();
    this.#watch.close();
  }

  #onReading({ serverName, outcome, faults }: IdentityReading): void {
    for (const fault of faults) this.#log.error({ fault: formatFault(fault) }, 'certificates cannot be used');
    if (outcome !== 'faulty') this.#log.info({ serverName, outcome }, 'certificates were read');
    // The reading is told before its identity can be seen here.
    setImmediate(() => this.#remind());
  }

  #remind(): void {
    const endings = this.identities.loaded.flatMap(endingsOf);
    for (const { serverName, role, endsMs, daysLeft } of this.#reminder.remind(endings, Date.now())) {
      const fields = { serverName, role, ends: new Date(endsMs).toISOString(), daysLeft };
      this.#log.warn(fields, role === 'crl' ? 'a revocation list is due soon' : 'a certificate ends soon');
    }
  }
}
