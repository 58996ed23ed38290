/** The metrics of the gateway as plain numbers: counting costs an addition, and a scrape does the rest. */

import { type Cell, Cells } from './cells.ts';
import { DurationTally } from './duration-tally.ts';
import type { Exposition } from './exposition.ts';
import type { AddressListState, CertificateExpiry, NodeState, ProcessState } from './gauge-states.ts';
import { type CellsByKey, MergedSeries, SeriesSender, type SeriesSnapshot } from './merged-series.ts';
import { metricTable, toldWhole } from './metric-table.ts';
import { RouteCells } from './route-cells.ts';

/** How one exchange ended. Bytes are body bytes. */
export interface FinishedRequest {
  readonly listener: string;
  /** As sent; a method not in the closed set counts as `other`. */
  readonly method: string;
  readonly status: number;
  readonly durationMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** The metrics of one route, with their series looked up once. */
export interface RouteMetrics {
  streamStarted(): void;
  streamEnded(): void;
  finished(request: FinishedRequest): void;
}

export interface MetricsText {
  readonly contentType: string;
  readonly body: string;
}

/** Records metrics. Label values must be bounded: names from the policy and closed sets. */
export interface Metrics {
  /** The listener accepts connections and has none yet. */
  listening(listener: string): void;
  connectionOpened(listener: string): void;
  connectionClosed(listener: string): void;
  /** `worker`: 0 is the primary. */
  processState(worker: number, state: ProcessState): void;
  /** `tenant` and `version` are empty if the handshake did not get that far. */
  handshake(tenant: string, version: string, resumed: boolean, outcome: string): void;
  /** `code` is empty for an admission. */
  decision(step: string, outcome: string, code: string): void;
  /** A running stream was decided again; `code` is empty if it was kept. */
  reexamination(outcome: 'kept' | 'ended', code: string): void;
  /** `backend`: where the limit is counted. */
  limitDecision(limit: string, outcome: 'admitted' | 'refused', backend: string): void;
  /** The state of the Redis that shares limits; `failures` holds totals by reason. */
  limitStore(isUp: boolean, gateways: number, failures: Readonly<Record<string, number>>): void;
  /** Returns the same object for the same names. Use empty names for requests without a route. */
  route(tenant: string, route: string): RouteMetrics;
  forwarded(path: 'passed' | 'copied', bytes: number): void;
  /** `side` is the one that was paused. */
  backpressure(side: 'caller' | 'node'): void;
  bufferedBytes(bytes: number): void;
  bufferPressure(action: 'paused' | 'shed'): void;
  tokenCache(result: string): void;
  tokenVerification(issuer: string, outcome: string): void;
  jwksFetch(issuer: string, outcome: string): void;
  /** Replaces all expiries. */
  certificateExpiries(expiries: readonly CertificateExpiry[]): void;
  /** Replaces all lists. */
  addressLists(lists: readonly AddressListState[]): void;
  /** Replaces all nodes. */
  nodes(nodes: readonly NodeState[]): void;
  /** The policy was read, at the start or by a reload; `generation` is the one in force now. */
  policyRead(generation: number, successful: boolean, atSeconds: number): void;
  workerRestarted(): void;
  /** Returns the values counted here, to merge in another process, without metrics that are set as a whole. */
  snapshot(): SeriesSnapshot;
  /** Returns the receiver for the snapshots of one other process. */
  merge(): MergedSeries;
  /** Whether the tenants are up to date with etcd. */
  etcdTenants(isCurrent: boolean): void;
  auditLines(outcome: 'written' | 'lost', lines: number): void;
  auditWritable(isWritable: boolean): void;
  /** Returns OpenMetrics if `accept` contains it, otherwise the Prometheus text format. */
  text(accept?: string): Promise<MetricsText>;
}

/** Creates metrics; every instance has a registry of its own. Workers omit the version. */
export function createMetrics(options: { readonly version?: string }): Metrics {
  return new CountedMetrics(options.version);
}

type TallyName = Exclude<keyof typeof metricTable, 'requestDuration'>;

class CountedMetrics implements Metrics {
  readonly #tallies: Readonly<Record<TallyName, Cells>>;
  readonly #duration: DurationTally;
  /** Metrics that are summed over processes. */
  readonly #summed: CellsByKey;
  readonly #sender: SeriesSender;
  /** By tenant, then route. */
  readonly #routes = new Map<string, Map<string, RouteCells>>();
  readonly #forwarded: { readonly passed: Cell; readonly copied: Cell };
  #exposition: Promise<Exposition> | undefined;
  readonly #backpressure: { readonly caller: Cell; readonly node: Cell };

  constructor(version: string | undefined) {
    const { requestDuration, ...rows } = metricTable;
    const made = Object.keys(rows).map((key) => [key, new Cells()]);
    this.#tallies = Object.fromEntries(made) as Record<TallyName, Cells>;
    this.#duration = new DurationTally(requestDuration);
    const summed = Object.entries(this.#tallies).filter(([key]) => !toldWhole.has(key));
    this.#summed = new Map<string, Cells>([...summed, ['requestDuration', this.#duration]]);
    this.#sender = new SeriesSender(this.#summed);
    const { forwardedBytes, backpressurePauses, tokenCache, policyGeneration } = this.#tallies;
    this.#forwarded = { passed: forwardedBytes.cell('passed'), copied: forwardedBytes.cell('copied') };
    this.#backpressure = { caller: backpressurePauses.cell('caller'), node: backpressurePauses.cell('node') };
    for (const result of ['hit', 'miss']) tokenCache.cell(result);
    policyGeneration.cell();
    this.#tallies.bufferedBytes.cell();
    for (const action of ['paused', 'shed']) this.#tallies.bufferPressure.cell(action);
    for (const outcome of ['written', 'lost']) this.#tallies.auditLines.cell(outcome);
    this.#tallies.reloadSuccessful.cell();
    this.#tallies.reloadSuccessTime.cell();
    this.#tallies.workerRestarts.cell();
    if (version !== undefined) this.#tallies.buildInfo.cell(version).value = 1;
  }

  listening(listener: string): void {
    this.#tallies.openConnections.cell(listener);
  }

  connectionOpened(listener: string): void {
    this.#tallies.openConnections.cell(listener).value += 1;
  }

  connectionClosed(listener: string): void {
    this.#tallies.openConnections.cell(listener).value -= 1;
  }

  processState(worker: number, { loopDelaySeconds, use }: ProcessState): void {
    const { loopDelay, processCpu, processResident, processDescriptors, processMostDescriptors } =
      this.#tallies;
    const label = String(worker);
    loopDelay.cell(label).value = loopDelaySeconds;
    if (use === undefined) return;
    processCpu.cell(label).value = use.cpuSeconds;
    processResident.cell(label).value = use.residentBytes;
    processDescriptors.cell(label).value = use.openDescriptors;
    processMostDescriptors.cell(label).value = use.mostDescriptors;
  }

  handshake(tenant: string, version: string, resumed: boolean, outcome: string): void {
    this.#tallies.handshakes.cell(tenant, version, String(resumed), outcome).value += 1;
  }

  decision(step: string, outcome: string, code: string): void {
    this.#tallies.decisions.cell(step, outcome, code).value += 1;
  }

  reexamination(outcome: 'kept' | 'ended', code: string): void {
    this.#tallies.reexaminations.cell(outcome, code).value += 1;
  }

  limitDecision(limit: string, outcome: 'admitted' | 'refused', backend: string): void {
    this.#tallies.limitDecisions.cell(limit, outcome, backend).value += 1;
  }

  limitStore(isUp: boolean, gateways: number, failures: Readonly<Record<string, number>>): void {
    this.#tallies.limitStoreUp.cell('redis').value = isUp ? 1 : 0;
    this.#tallies.limitStoreGateways.cell('redis').value = gateways;
    for (const [reason, count] of Object.entries(failures))
      this.#tallies.limitStoreFailures.cell(reason).value = count;
  }

  route(tenant: string, route: string): RouteMetrics {
    const known = this.#routes.get(tenant)?.get(route);
    if (known !== undefined) return known;
    const made = new RouteCells(tenant, route, this.#tallies, this.#duration);
    this.#routes.set(tenant, (this.#routes.get(tenant) ?? new Map()).set(route, made));
    return made;
  }

  forwarded(path: 'passed' | 'copied', bytes: number): void {
    this.#forwarded[path].value += bytes;
  }

  backpressure(side: 'caller' | 'node'): void {
    this.#backpressure[side].value += 1;
  }

  bufferedBytes(bytes: number): void {
    this.#tallies.bufferedBytes.cell().value = bytes;
  }

  bufferPressure(action: 'paused' | 'shed'): void {
    this.#tallies.bufferPressure.cell(action).value += 1;
  }

  tokenCache(result: string): void {
    this.#tallies.tokenCache.cell(result).value += 1;
  }

  tokenVerification(issuer: string, outcome: string): void {
    this.#tallies.tokenVerifications.cell(issuer, outcome).value += 1;
  }

  jwksFetch(issuer: string, outcome: string): void {
    this.#tallies.jwksFetches.cell(issuer, outcome).value += 1;
  }

  certificateExpiries(expiries: readonly CertificateExpiry[]): void {
    const { certificateNotAfter, crlNextUpdate } = this.#tallies;
    certificateNotAfter.clear();
    crlNextUpdate.clear();
    for (const { name, role, seconds } of expiries) {
      const cell = role === 'crl' ? crlNextUpdate.cell(name) : certificateNotAfter.cell(name, role);
      cell.value = seconds;
    }
  }

  addressLists(lists: readonly AddressListState[]): void {
    const { addressPrefixes, addressListCurrent } = this.#tallies;
    addressPrefixes.clear();
    addressListCurrent.clear();
    for (const { tenant, list, prefixes, isCurrent } of lists) {
      addressPrefixes.cell(tenant, list).value = prefixes;
      addressListCurrent.cell(tenant, list).value = isCurrent ? 1 : 0;
    }
  }

  nodes(nodes: readonly NodeState[]): void {
    const { nodeUp, breakerState } = this.#tallies;
    nodeUp.clear();
    breakerState.clear();
    for (const { upstream, node, up, breaker } of nodes) {
      nodeUp.cell(upstream, node).value = up;
      breakerState.cell(upstream, node).value = breaker;
    }
  }

  policyRead(generation: number, successful: boolean, atSeconds: number): void {
    this.#tallies.policyGeneration.cell().value = generation;
    this.#tallies.reloadSuccessful.cell().value = successful ? 1 : 0;
    if (successful) this.#tallies.reloadSuccessTime.cell().value = atSeconds;
  }

  workerRestarted(): void {
    this.#tallies.workerRestarts.cell().value += 1;
  }

  snapshot(): SeriesSnapshot {
    return this.#sender.snapshot();
  }

  merge(): MergedSeries {
    const gauges = new Set(
      Object.entries(metricTable).flatMap(([key, { type }]) => (type === 'gauge' ? [key] : [])),
    );
    return new MergedSeries(this.#summed, (key) => gauges.has(key));
  }

  etcdTenants(isCurrent: boolean): void {
    this.#tallies.etcdTenants.cell().value = isCurrent ? 1 : 0;
  }

  auditLines(outcome: 'written' | 'lost', lines: number): void {
    this.#tallies.auditLines.cell(outcome).value += lines;
  }

  auditWritable(isWritable: boolean): void {
    this.#tallies.auditWritable.cell().value = isWritable ? 1 : 0;
  }

  async text(accept = ''): Promise<MetricsText> {
    this.#exposition ??= this.#expose();
    return (await this.#exposition).text(accept);
  }

  /** Loads the code for scrapes only when the first one arrives; workers are never scraped. */
  async #expose(): Promise<Exposition> {
    const { Exposition } = await import('./exposition.ts');
    const { requestDuration, ...rows } = metricTable;
    const exposed = Object.entries(rows).map(([key, row]) => ({
      row,
      cells: this.#tallies[key as TallyName],
    }));
    return new Exposition(exposed, requestDuration, this.#duration);
  }
}
