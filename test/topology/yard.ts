/** The stack of docker-compose.yml as processes of this machine, from the same files with other addresses and paces. */

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { parseDocument } from 'yaml';
import { nodeNames } from '../../gateway/demo/prepare-stack.ts';
import { MODEL } from '../../gateway/demo/stack.ts';
import { writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { ports, type Running, run, start } from '../commands/process.ts';
import { readText } from '../deploy/deployed.ts';
import { freePort, type RunningServer, startEtcd, startRedis, startServer, until } from '../lists/servers.ts';
import { newFolder } from '../new-folder.ts';

export const tenants = ['tenant-a', 'tenant-b'] as const;
export type Tenant = (typeof tenants)[number];

/** More than the buffers between a node and a caller hold, so that a download stands still if its caller reads nothing. */
const LARGE_WEIGHTS = 12_000_000;
const CHANGE_EVERY = 10_000;

export interface PolicyPage {
  readonly generation: number;
  readonly tenants: readonly { readonly name: string }[];
  readonly workers: readonly { readonly pid: number; readonly generation: number }[];
}

export interface RunningGateway {
  /** The name the balancer gives it. */
  readonly name: string;
  readonly edge: number;
  readonly admin: number;
  /** Sends SIGKILL to the started process and waits for its end. */
  kill(): Promise<unknown>;
  /** The policy page of its admin listener. */
  policy(): Promise<PolicyPage>;
  /** The process ids of its workers. */
  workers(): Promise<readonly number[]>;
  /** Starts it again on the same ports after a kill. */
  restart(): Promise<void>;
  readonly auditFile: string;
  /** Its access log so far. */
  log(): readonly Readonly<Record<string, unknown>>[];
}

export interface Yard {
  /** The certificates, tokens and models that `demo --prepare` wrote. */
  readonly folder: string;
  readonly gateways: readonly [RunningGateway, RunningGateway];
  /** The port that callers know. */
  readonly port: number;
  readonly redis: RunningServer;
  readonly etcd: RunningServer;
  readonly prometheus: string;
  /** The gateway that got the connection from there; the balancer reports it at its end. */
  gatewayOf(address: string, port: number): string | undefined;
}

/** Starts everything, each part once those it needs are up; all of it ends with the test. */
export async function openYard(t: Test): Promise<Yard> {
  const folder = await newFolder(t);
  const prepared = await run(t, 'demo', '--prepare', folder);
  if (prepared.status !== 0) throw new Error(prepared.err);
  await enlarge(folder);
  const [redis, etcd] = [await startRedis(t), await startEtcd(t)];
  const nodes = await startNodes(t, folder);
  const parts = { folder, redis: redis.port, etcd: etcd.port, nodes };
  const gateways = await Promise.all([startGateway(t, 1, parts), startGateway(t, 2, parts)]);
  const balancer = await startBalancer(t, folder, gateways);
  const prometheus = await startPrometheus(t, folder, gateways);
  return { folder, gateways, redis, etcd, prometheus, ...balancer };
}

/** Gives tenant-a a large model: `models/large-0.safetensors`, which its node has, and `large-1`, an epoch later. */
async function enlarge(folder: string): Promise<void> {
  const weights = new Float32Array(LARGE_WEIGHTS).map((_, index) => index % 1000);
  const write = async (epoch: number): Promise<string> => {
    const path = join(folder, 'models', `large-${epoch}.safetensors`);
    const data = Buffer.from(weights.buffer);
    await writeSafetensors(path, [{ name: 'weights', dtype: 'F32', shape: [LARGE_WEIGHTS], data }]);
    return path;
  };
  const node = join(folder, 'nodes', nodeNames['tenant-a']);
  await rm(node, { recursive: true });
  await createModel(node, MODEL, await write(0));
  for (let index = 0; index < LARGE_WEIGHTS; index += CHANGE_EVERY) weights[index] = -1;
  await write(1);
}

/** Replaces what is different here; throws if the file lacks a text to replace. */
function exchanged(text: string, pairs: Readonly<Record<string, string>>): string {
  return Object.entries(pairs).reduce((so, [from, to]) => {
    if (!so.includes(from)) throw new Error(`no ${from} in ${so}`);
    return so.replaceAll(from, to);
  }, text);
}

async function startNodes(t: Test, folder: string): Promise<Readonly<Record<Tenant, string>>> {
  const urls = await Promise.all(
    tenants.map(async (tenant) => {
      const root = join(folder, 'nodes', nodeNames[tenant]);
      const running = start(t, ['node', '--root', root, '--listen', '127.0.0.1:0']);
      await until(() => running.output.out.includes('sync node at'));
      return [tenant, /http:\S+\d/.exec(running.output.out)?.[0] ?? running.output.err] as const;
    }),
  );
  return Object.fromEntries(urls) as Record<Tenant, string>;
}

interface Surroundings {
  readonly folder: string;
  readonly redis: number;
  readonly etcd: number;
  readonly nodes: Readonly<Record<Tenant, string>>;
}

async function startGateway(t: Test, index: number, around: Surroundings): Promise<RunningGateway> {
  const policies = join(around.folder, `policies-${index}`);
  const auditFile = join(around.folder, 'audit', `gateway-${index}`, 'audit.jsonl');
  const write = (edge: number, admin: number): Promise<void> =>
    writePolicies(policies, around, { edge, admin, auditFile });
  await write(0, 0);
  let running = start(t, ['serve', '--config', policies]);
  const { edge, admin } = await ports(running);
  await write(edge, admin);
  const before: Running[] = [];
  const policy = async (): Promise<PolicyPage> =>
    (await fetch(`http://127.0.0.1:${admin}/policy`)).json() as Promise<PolicyPage>;
  return {
    name: `gateway-${index}`,
    edge,
    admin,
    kill: () => {
      running.child.kill('SIGKILL');
      return running.ended;
    },
    policy,
    workers: async () => (await policy()).workers.map(({ pid }) => pid),
    auditFile,
    restart: async () => {
      before.push(running);
      running = start(t, ['serve', '--config', policies]);
      await ports(running);
    },
    log: () => [...before, running].flatMap(({ output }) => linesOf(output.out)),
  };
}

/** The last line of a killed process may be torn. */
function linesOf(text: string): readonly Readonly<Record<string, unknown>>[] {
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as Record<string, unknown>];
    } catch {
      return [];
    }
  });
}

async function writePolicies(
  policies: string,
  { redis, etcd, nodes }: Surroundings,
  { edge, admin, auditFile }: Pick<RunningGateway, 'edge' | 'admin' | 'auditFile'>,
): Promise<void> {
  await mkdir(join(policies, 'tenants'), { recursive: true });
  const gateway = exchanged(readText('deploy/policies/gateway.yaml'), {
    'edge.internal:8443': `127.0.0.1:${edge}`,
    'admin.internal:9901': `127.0.0.1:${admin}`,
    '10.77.1.10/32': '127.0.0.1/32',
    'redis://redis:6379': `redis://127.0.0.1:${redis}`,
    'http://etcd:2379': `http://127.0.0.1:${etcd}`,
    '/var/log/patchgate/audit.jsonl': auditFile,
  });
  await writeFile(join(policies, 'gateway.yaml'), gateway);
  for (const tenant of tenants) {
    const text = exchanged(readText(`deploy/policies/tenants/${tenant}.yaml`), {
      [`http://${nodeNames[tenant]}:7001`]: nodes[tenant],
      '127.0.0.0/8': '127.0.0.1/32',
      '6000/m': '600000/m',
    });
    await writeFile(join(policies, 'tenants', `${tenant}.yaml`), text);
  }
}

async function startBalancer(
  t: Test,
  folder: string,
  gateways: readonly RunningGateway[],
): Promise<Pick<Yard, 'port' | 'gatewayOf'>> {
  const [port, alive] = [await freePort(), await freePort()];
  const servers = gateways.map(({ edge, admin }, index): [string, string] => [
    `10.77.1.1${index + 1}:8443 addr 10.77.4.1${index + 1}`,
    `127.0.0.1:${edge} addr 127.0.0.1 port ${admin}`,
  ]);
  const config = exchanged(readText('deploy/haproxy.cfg'), {
    'maxconn 20000': 'maxconn 2000',
    '  option dontlognull\n': '', // connections that died before a byte are logged too
    'bind :8443': `bind 127.0.0.1:${port}`,
    '127.0.0.1:8404': `127.0.0.1:${alive}`,
    'check port 9901': 'check',
    ...Object.fromEntries(servers),
  });
  const path = join(folder, 'haproxy.cfg');
  await writeFile(path, config);
  let log = '';
  const onOutput = (text: string): void => {
    log += text;
  };
  await startServer(t, 'haproxy', port, ['-f', path], onOutput);
  const gatewayOf: Yard['gatewayOf'] = (address, from) => {
    const line = log.split('\n').find((each) => each.startsWith(`${address}:${from} `));
    return / gateways\/(\S+) /.exec(line ?? '')?.[1];
  };
  return { port, gatewayOf };
}

/** Scrapes, evaluates and alerts every second. */
async function startPrometheus(
  t: Test,
  folder: string,
  gateways: readonly RunningGateway[],
): Promise<string> {
  const port = await freePort();
  const config = parseDocument(readText('deploy/prometheus.yml'));
  for (const key of ['scrape_interval', 'scrape_timeout', 'evaluation_interval'])
    config.setIn(['global', key], '1s');
  const targets = gateways.map(({ admin }) => `127.0.0.1:${admin}`);
  config.setIn(['scrape_configs', 0, 'static_configs', 0, 'targets'], targets);
  const path = join(folder, 'prometheus.yml');
  await writeFile(path, String(config));
  const rules = readText('deploy/alerts.yml').replaceAll(/^( +for: )\S+$/gm, '$12s');
  await writeFile(join(folder, 'alerts.yml'), rules);
  const address = `127.0.0.1:${port}`;
  const storage = join(folder, 'prometheus');
  const args = ['--config.file', path, '--storage.tsdb.path', storage, '--web.listen-address', address];
  await startServer(t, 'prometheus', port, args);
  return `http://${address}`;
}

/** One value per series, by its labels. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

/** Throws if Prometheus cannot read the expression. */
export async function queried(prometheus: string, expr: string): Promise<readonly Sample[]> {
  const response = await fetch(`${prometheus}/api/v1/query?query=${encodeURIComponent(expr)}`);
  const answer = (await response.json()) as {
    readonly status: string;
    readonly error?: string;
    readonly data: { readonly result: readonly Sample[] };
  };
  if (answer.status !== 'success') throw new Error(`${expr}: ${answer.error}`);
  return answer.data.result;
}

export const readMade = (folder: string, ...names: readonly string[]): Promise<string> =>
  readFile(join(folder, ...names), 'utf8');
