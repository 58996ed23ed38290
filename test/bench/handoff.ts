/** How fast two data plane processes get what the control plane has, and how long that blocks them. */

import { type ChildProcess, fork } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { IdentityStore } from '../../gateway/certificates/identity-store.ts';
import type { NodeIdentity } from '../../gateway/certificates/node-identity.ts';
import type { ServerIdentity } from '../../gateway/certificates/server-identity.ts';
import { ControlEnd } from '../../gateway/handoff/control-end.ts';
import type { ControlLink } from '../../gateway/handoff/control-link.ts';
import { CompiledForms } from '../../gateway/handoff/policy-forms.ts';
import { LivePolicy } from '../../gateway/policy/live.ts';
import { loadPolicy } from '../../gateway/policy/load.ts';
import { PolicySources } from '../../gateway/policy/sources.ts';
import { FileWatch } from '../../gateway/sources/file-watch.ts';
import { SeededRandom } from '../patch/seeded-random.ts';
import { listText } from './address-texts.ts';
import type { HandoffReport } from './handoff-worker.ts';

const WORKERS = 2;
const WORKER = fileURLToPath(new URL('handoff-worker.ts', import.meta.url));

/** Milliseconds until the last worker has a change, and the longest pause of any worker meanwhile. */
export interface Handover {
  readonly reachMs: number;
  readonly pauseMs: number;
}

export interface HandoffResult {
  readonly prefixes: number;
  /** Changes of a list of that many prefixes. */
  readonly lists: readonly Handover[];
  /** Changes of a tenant with a thousand routes. */
  readonly tenants: readonly Handover[];
  /** Starts of workers that have nothing yet. */
  readonly fresh: readonly Handover[];
  /** Tenths of a second without a change. */
  readonly idle: readonly Handover[];
}

/** A data plane process. */
class Worker {
  readonly #child: ChildProcess = fork(WORKER, { serialization: 'advanced' });
  readonly #hearers = new Set<(report: HandoffReport) => void>();
  #link: ControlLink | undefined;

  constructor() {
    this.#child.on('message', (message: object) => {
      if (!('bench' in message)) {
        this.#link?.receive(message);
        return;
      }
      for (const hear of this.#hearers) hear(message as HandoffReport);
    });
  }

  attach(control: ControlEnd): void {
    this.#link = control.attach({ send: (message) => void this.#child.send(message as object) });
  }

  /** Resolves to the first report for which `isSo` returns true. */
  hears(isSo: (report: HandoffReport) => boolean): Promise<HandoffReport> {
    return new Promise((resolve) => {
      const hear = (report: HandoffReport): void => {
        if (!isSo(report)) return;
        this.#hearers.delete(hear);
        resolve(report);
      };
      this.#hearers.add(hear);
    });
  }

  reset(): void {
    this.#child.send({ bench: 'reset' });
  }

  /** Asks for the longest pause, 50 ms later so that work still in progress counts. */
  async pauseMs(): Promise<number> {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const report = this.hears(({ bench }) => bench === 'pause');
    this.#child.send({ bench: 'pause' });
    return (await report).longestMs;
  }

  stop(): void {
    this.#link?.close();
    this.#child.kill();
  }
}

export async function benchHandoff(prefixes: number, rounds: number): Promise<HandoffResult> {
  const folder = await mkdtemp(join(tmpdir(), 'patchgate-handoff-'));
  const yard = await HandoffYard.open(folder, prefixes);
  try {
    await yard.begin();
    await yard.begin();
    const lists: Handover[] = [];
    const tenants: Handover[] = [];
    const fresh: Handover[] = [];
    const idle: Handover[] = [];
    for (let round = 0; round < rounds; round++) {
      lists.push(await yard.handOver(await yard.nextList()));
      tenants.push(await yard.handOver(await yard.nextTenant()));
      idle.push(await yard.handOver(async () => new Promise((resolve) => setTimeout(resolve, 100))));
      fresh.push(await yard.begin());
    }
    return { prefixes, lists, tenants, fresh, idle };
  } finally {
    yard.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** A control plane and its data planes. */
class HandoffYard {
  readonly #folder: string;
  readonly #live: LivePolicy;
  readonly #sources: PolicySources;
  readonly #control: ControlEnd;
  readonly #workers: Worker[] = [];
  readonly #lists: readonly [string, string];
  #list = 0;
  #tenant = 0;

  private constructor(
    folder: string,
    live: LivePolicy,
    sources: PolicySources,
    control: ControlEnd,
    lists: readonly [string, string],
  ) {
    this.#folder = folder;
    this.#live = live;
    this.#sources = sources;
    this.#control = control;
    this.#lists = lists;
  }

  static async open(folder: string, prefixes: number): Promise<HandoffYard> {
    const random = new SeededRandom(9);
    const lists = [listText(random, prefixes, 'mixed'), listText(random, prefixes - 1, 'mixed')] as const;
    const tenants = join(folder, 'policies', 'tenants');
    await mkdir(tenants, { recursive: true });
    await writeFile(join(folder, 'policies', 'gateway.yaml'), GATEWAY);
    await writeFile(join(tenants, 'tenant-a.yaml'), tenantYaml(0));
    await writeFile(join(tenants, 'fleet.cidr'), lists[0]);
    const sources = new PolicySources({ mode: 'follow' });
    const forms = new CompiledForms();
    const path = join(folder, 'policies');
    const { policy, ...read } = await loadPolicy(path, Date.now(), { sources, onCompiled: forms });
    if (policy === undefined) throw new Error('the policy has faults');
    const live = new LivePolicy(path, { ...read, policy }, sources, Date.now, () => undefined, forms);
    const store = { watch: new FileWatch(), capacity: () => 1 };
    const identities = {
      servers: new IdentityStore<ServerIdentity>(store),
      nodes: new IdentityStore<NodeIdentity>(store),
    };
    const control = new ControlEnd({
      policy: () => live.current,
      forms,
      sources,
      identities,
      ticketSecret: Buffer.alloc(32),
    });
    return new HandoffYard(folder, live, sources, control, lists);
  }

  /** Starts a worker, stops the oldest if there are enough, and measures until the new one has everything. */
  async begin(): Promise<Handover> {
    const worker = new Worker();
    this.#workers.push(worker);
    await worker.hears(({ bench }) => bench === 'up');
    const other = this.#workers.length > WORKERS ? this.#workers.shift() : undefined;
    other?.stop();
    const fromMs = performance.now();
    const whole = worker.hears(({ bench, prefixes }) => bench === 'has' && prefixes > 0);
    worker.attach(this.#control);
    await whole;
    return { reachMs: performance.now() - fromMs, pauseMs: await worker.pauseMs() };
  }

  /** Changes the list here. Resolves to a function that hands it to the workers and waits until they have it. */
  async nextList(): Promise<() => Promise<unknown>> {
    this.#list = 1 - this.#list;
    await writeFile(join(this.#folder, 'policies', 'tenants', 'fleet.cidr'), this.#lists[this.#list] ?? '');
    await this.#sources.refresh();
    const [part] = this.#live.current.tenants.get('tenant-a')?.lists.get('fleet')?.parts ?? [];
    const size = part?.contents?.tree.size;
    return () => this.#tell(({ prefixes }) => prefixes === size);
  }

  /** Like `nextList`, for one changed line of a tenant. */
  async nextTenant(): Promise<() => Promise<unknown>> {
    this.#tenant += 1;
    const file = join(this.#folder, 'policies', 'tenants', 'tenant-a.yaml');
    await writeFile(file, tenantYaml(this.#tenant));
    const { policy } = await this.#live.reload();
    return () => this.#tell(({ generation }) => generation === policy.generation);
  }

  async handOver(change: () => Promise<unknown>): Promise<Handover> {
    for (const worker of this.#workers) worker.reset();
    const fromMs = performance.now();
    await change();
    const reachMs = performance.now() - fromMs;
    const pauses = await Promise.all(this.#workers.map((worker) => worker.pauseMs()));
    return { reachMs, pauseMs: Math.max(...pauses) };
  }

  close(): void {
    for (const worker of this.#workers) worker.stop();
    this.#control.close();
    this.#sources.close();
  }

  #tell(has: (report: HandoffReport) => boolean): Promise<unknown> {
    const heard = this.#workers.map((worker) => worker.hears(has));
    this.#control.changed();
    return Promise.all(heard);
  }
}

const GATEWAY = `gateway:
  listeners: [{ name: edge, address: '127.0.0.1:0' }]
  admin: { address: 127.0.0.1:0 }
`;
const ROUTES = 1000;

/** Versions differ in one line, the node's address. */
function tenantYaml(version: number): string {
  const routes = Array.from(
    { length: ROUTES },
    (_, number) => `  - name: push-${number}
    match: { methods: [PUT], path: '/v${number}/models/{model_id}/patches/{stream_id}' }
    require: { scope: finetune, claims: { model_id: '{model_id}' } }
    allow: [fleet]
    stream: { format: weight-patch, maxBytes: 2GiB }
    upstream: sync
`,
  );
  return `tenant: tenant-a
serverNames: [a.test]
addresses: { fleet: { file: fleet.cidr } }
allow: [fleet]
issuers: { main: { issuer: 'https://auth.test', audience: a, algorithms: [ES256], keys: { jwks: 'http://127.0.0.1:1/' } } }
upstreams: { sync: { nodes: ['http://10.1.${version >> 8}.${version & 255}:7001'] } }
routes:
${routes.join('')}`;
}
