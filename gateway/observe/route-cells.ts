/** The metrics of one route, with their series looked up once. */

import type { Cell, Cells } from './cells.ts';
import type { Durations, DurationTally } from './duration-tally.ts';
import type { FinishedRequest, RouteMetrics } from './metrics.ts';

type RouteTallies = Readonly<Record<'requests' | 'streamsActive' | 'streamBytes', Cells>>;

const METHODS: ReadonlySet<string> = new Set('GET HEAD POST PUT PATCH DELETE OPTIONS'.split(' '));

export class RouteCells implements RouteMetrics {
  readonly #tenant: string;
  readonly #route: string;
  readonly #tallies: RouteTallies;
  readonly #active: Cell;
  readonly #bytesIn: Cell;
  readonly #bytesOut: Cell;
  readonly #durations: Durations;

  constructor(tenant: string, route: string, tallies: RouteTallies, duration: DurationTally) {
    this.#tenant = tenant;
    this.#route = route;
    this.#tallies = tallies;
    this.#active = tallies.streamsActive.cell(route);
    this.#bytesIn = tallies.streamBytes.cell(route, 'in');
    this.#bytesOut = tallies.streamBytes.cell(route, 'out');
    this.#durations = duration.durations(route);
  }

  streamStarted(): void {
    this.#active.value += 1;
  }

  streamEnded(): void {
    this.#active.value -= 1;
  }

  finished(request: FinishedRequest): void {
    const { requests } = this.#tallies;
    const method = METHODS.has(request.method) ? request.method : 'other';
    const code = String(request.status);
    requests.cell(request.listener, this.#tenant, this.#route, method, code).value += 1;
    this.#durations.observe(request.durationMs / 1000);
    this.#bytesIn.value += request.bytesIn;
    this.#bytesOut.value += request.bytesOut;
  }
}
