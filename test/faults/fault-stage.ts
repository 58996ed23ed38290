/**
 * One fault on its own stage, beside streams that must not notice: what the caller gets, what the node sees, what the
 * account says, and that nothing is left behind. The rows played here are the matrix of the README.
 */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { ports, start, writePolicy } from '../commands/process.ts';
import { readLog, type Stage, type StageOptions, setStage } from '../path/stage.ts';
import { until } from '../path/upstream-stage.ts';
import { startBystanders, WellNode } from './bystanders.ts';
import { accountOf, held } from './fault-account.ts';
import { FaultCaller, get } from './fault-caller.ts';
import { type FaultNode, type Manner, type NodeProcess, startNode, startNodeProcess } from './fault-node.ts';

/** One row of the matrix; `caller`, `node` and `account` are what the test compares with, word for word. */
export interface FaultText {
  /** What breaks. */
  readonly fault: string;
  /** One of several ways in which it breaks, all with the same outcome. */
  readonly way?: string;
  /** Status and code of the problem; `broken` if no end could be mistaken for one; `—` where the caller has gone. */
  readonly caller: string;
  /** How the connection ended for the caller; `—` where the caller ended it. */
  readonly node: 'nothing' | 'a reset' | 'an end' | '—';
  /** `ended_by`, and `denial.code` or else the status; or why there was no request to account for. */
  readonly account: string;
}

interface FaultSettings extends FaultText {
  /** `cause` of the line. */
  readonly cause?: RegExp;
  /** What the node that may fail does. */
  readonly manner: Manner;
  readonly settings?: Partial<StageOptions>;
  /** Whether the next request to the same node is served. */
  readonly recovers?: true;
}

export interface FaultRow extends FaultSettings {
  readonly apart?: never;
  /** Causes the fault and resolves to what the caller got. */
  play(scene: Scene): Promise<string>;
}

/** A row whose node is a process, to be killed and stopped. */
export interface NodeProcessRow extends FaultSettings {
  readonly apart: 'node';
  play(scene: Scene<NodeProcess>): Promise<string>;
}

/** A row whose gateway is a process, to be starved. */
export interface GatewayProcessRow extends FaultSettings {
  readonly apart: 'gateway';
  play(scene: Scene & { readonly pid: number }): Promise<string>;
}

export type AnyFaultRow = FaultRow | NodeProcessRow | GatewayProcessRow;

type Front = Pick<Stage, 'port' | 'admin' | 'ca' | 'worker' | 'log'>;

export interface Scene<Node extends FaultNode = FaultNode> extends Front {
  readonly node: Node;
  arrive(session?: Buffer): Promise<FaultCaller>;
  /** Sends so much and waits for the outcome. */
  ask(bytes: string | Buffer): Promise<string>;
}

/** The route of faults with these further keys, one to use at other times, and one for the streams beside it. */
export function routes(faultKeys = ''): string {
  const route = (name: string, upstream: string, keys = ''): string => `  - name: ${name}
    match: { methods: [GET, PUT], path: '/${name}/**' }
    require: none
    upstream: ${upstream}
${keys}`;
  return route('fault', 'sync', faultKeys) + route('open', 'sync') + route('well', 'well');
}

/** Nothing is kept for later, so whatever remains after a fault was left by it. */
const KEEPS_NOTHING = '    connections: { max: 64, idle: 100ms }\n';

export async function playFault(t: Test, row: AnyFaultRow): Promise<void> {
  const well = await WellNode.start(t);
  if (row.apart === 'node') {
    const node = await startNodeProcess(t, row.manner);
    const scene = sceneAt(t, node, await setStage(t, optionsOf(row, node, well)));
    await hold(t, row, scene, well, descriptors, () => row.play(scene));
    return;
  }
  const node = await startNode(t, row.manner);
  const options = optionsOf(row, node, well);
  if (row.apart === 'gateway') {
    const { pid, ...front } = await startFront(t, options);
    const scene = { ...sceneAt(t, node, front), pid };
    await hold(
      t,
      row,
      scene,
      well,
      () => descriptors(pid),
      () => row.play(scene),
    );
    return;
  }
  const scene = sceneAt(t, node, await setStage(t, options));
  await hold(t, row, scene, well, descriptors, () => row.play(scene));
}

function optionsOf({ settings = {} }: FaultSettings, node: FaultNode, well: WellNode): StageOptions {
  const upstream = `${KEEPS_NOTHING}${settings.upstream ?? ''}  well:\n    nodes: ['http://${well.address}']\n${KEEPS_NOTHING}`;
  return { nodes: [node.address], routes: routes(), ...settings, upstream };
}

/** A gateway as a process of its own. */
async function startFront(t: Test, options: StageOptions): Promise<Front & { readonly pid: number }> {
  const [node = ''] = options.nodes;
  const { folder, servers, worker } = await writePolicy(t, node, options.gateway, options);
  const running = start(t, ['serve', '--config', join(folder, 'policies')]);
  const { edge, admin } = await ports(running);
  return {
    port: edge,
    admin: `http://127.0.0.1:${admin}`,
    ca: servers.certificatePem,
    worker,
    log: (lines) => readLog(join(folder, 'access.log'), lines),
    pid: running.child.pid ?? 0,
  };
}

function sceneAt<Node extends FaultNode>(t: Test, node: Node, front: Front): Scene<Node> {
  const arrive = async (session?: Buffer): Promise<FaultCaller> => {
    const caller = await FaultCaller.arrive(front, session);
    t.teardown(() => caller.drop());
    return caller;
  };
  const ask = async (bytes: string | Buffer): Promise<string> => {
    const caller = await arrive();
    caller.send(bytes);
    return finallyGot(caller);
  };
  return { ...front, node, arrive, ask };
}

/** The outcome of the request of a caller, which then leaves. */
export async function finallyGot(caller: FaultCaller): Promise<string> {
  await until(() => caller.got !== undefined);
  caller.leave('FIN');
  return caller.got ?? '';
}

async function hold(
  t: Test,
  row: FaultSettings,
  scene: Scene,
  well: WellNode,
  open: () => number,
  play: () => Promise<string>,
): Promise<void> {
  const before = open();
  const bystanders = await startBystanders(scene, well);
  t.equal(await play(), row.caller, 'the caller gets what the row says');
  t.ok(await bystanders.finish(), 'the streams beside the fault arrive bit for bit');
  await t.resolves(
    until(async () => (await held(scene)) === '0 0 0 0'),
    'no stream, connection, byte or place at a node is held',
  );
  await t.resolves(
    until(() => open() <= before),
    'no socket is left open',
  );
  t.equal(ending(scene.node), row.node, 'the node sees what the row says');
  const account = await accountOf(scene);
  t.equal(account.text, row.account, 'the account says what the row says');
  if (row.cause !== undefined) t.match(account.cause, row.cause);
  if (row.recovers)
    t.equal(await scene.ask(get('/open/x')), '200, whole', 'the next request to the node is served');
}

function ending({ sights }: FaultNode): FaultText['node'] {
  if (sights.length === 0) return 'nothing';
  if (sights.includes('reset')) return 'a reset';
  return sights.includes('end') ? 'an end' : '—';
}

/** The sockets of this process for gateway, node and caller, or all descriptors of another process. */
export function descriptors(pid?: number): number {
  if (pid !== undefined) return readdirSync(`/proc/${pid}/fd`).length;
  return process.getActiveResourcesInfo().filter((kind) => /^(?:TCP|TLS)/.test(kind)).length;
}
