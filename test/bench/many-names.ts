/** Ten thousand server names on disk: start time, memory, and the cost of a first handshake. */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority } from '../../gateway/demo/pki.ts';
import { residentBytes } from './cpu.ts';
import { median } from './print.ts';
import { serve } from './shipped.ts';
import { freePort, secure, stop } from './yard.ts';

const TENANTS = 10;
const NAMES_EACH = 1000;
const SAMPLES = 100;

export interface ManyNamesResult {
  readonly names: number;
  /** From the start of the process until it listens, with all names and with one. */
  readonly startMs: number;
  readonly startOneMs: number;
  /** Before the first connection, with all names and with one. */
  readonly residentBytes: number;
  readonly residentOneBytes: number;
  readonly loadedBefore: number;
  readonly loadedAfter: number;
  /** Medians of the first and the second handshake for a name. */
  readonly coldMs: number;
  readonly warmMs: number;
}

export async function manyNames(): Promise<ManyNamesResult> {
  const one = await start(1, 1);
  const residentOne = residentBytes(one.pid);
  await one.close();
  const many = await start(TENANTS, NAMES_EACH);
  try {
    const resident = residentBytes(many.pid);
    const loadedBefore = await many.loaded();
    await many.handshake(0);
    const cold: number[] = [];
    const warm: number[] = [];
    for (let sample = 1; sample <= SAMPLES; sample++) {
      cold.push(await many.handshake(sample * 97));
      warm.push(await many.handshake(sample * 97));
    }
    return {
      names: TENANTS * NAMES_EACH,
      startMs: many.startMs,
      startOneMs: one.startMs,
      residentBytes: resident,
      residentOneBytes: residentOne,
      loadedBefore,
      loadedAfter: await many.loaded(),
      coldMs: median(cold),
      warmMs: median(warm),
    };
  } finally {
    await many.close();
  }
}

const nameOf = (index: number): string => `n${index}.many.test`;

interface Running {
  readonly pid: number;
  readonly startMs: number;
  loaded(): Promise<number>;
  /** Resolves to the milliseconds of a full handshake for the name with that number. */
  handshake(index: number): Promise<number>;
  close(): Promise<void>;
}

async function start(tenants: number, namesEach: number): Promise<Running> {
  const folder = await mkdtemp(join(tmpdir(), 'patchgate-names-'));
  const children: ChildProcess[] = [];
  const close = async (): Promise<void> => {
    for (const child of children) await stop(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const authority = await createAuthority('servers');
    const clients = await createAuthority('clients');
    const worker = await clients.issueClient({ commonName: 'worker' });
    await writeFolders(folder, tenants * namesEach, authority, clients.certificatePem);
    const port = await freePort();
    await writePolicy(folder, tenants, namesEach, port);
    const before = performance.now();
    const { pid, admin } = await serve(folder, children);
    const startMs = performance.now() - before;
    const tls = {
      host: '127.0.0.1',
      port,
      ca: authority.certificatePem,
      cert: worker.certificatePem,
      key: worker.privateKeyPem,
    };
    return {
      pid,
      startMs,
      loaded: async () => ((await (await fetch(`${admin}/certificates`)).json()) as unknown[]).length,
      handshake: async (index) => {
        const from = performance.now();
        const socket = await secure({ ...tls, servername: nameOf(index) });
        const ms = performance.now() - from;
        const closed = once(socket, 'close');
        socket.destroy();
        await closed;
        return ms;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Writes a folder with its own certificate and key for each name. */
async function writeFolders(
  folder: string,
  names: number,
  authority: Awaited<ReturnType<typeof createAuthority>>,
  clientsPem: string,
): Promise<void> {
  for (let index = 0; index < names; index++) {
    const at = join(folder, 'certs', nameOf(index));
    await mkdir(at, { recursive: true });
    const pair = await authority.issueServer({ dnsNames: [nameOf(index)] });
    await writeFile(join(at, 'chain.pem'), pair.certificatePem);
    await writeFile(join(at, 'key.pem'), pair.privateKeyPem);
    await writeFile(join(at, 'clients.pem'), clientsPem);
  }
}

async function writePolicy(folder: string, tenants: number, namesEach: number, port: number): Promise<void> {
  const at = join(folder, 'policies', 'tenants');
  await mkdir(at, { recursive: true });
  const listener = `{ name: edge, address: '127.0.0.1:${port}' }`;
  const gateway = `gateway: { listeners: [${listener}], admin: { address: 127.0.0.1:0 }, workers: 1, accessLog: { file: ../access.log } }\n`;
  await writeFile(join(folder, 'policies', 'gateway.yaml'), gateway);
  for (let tenant = 0; tenant < tenants; tenant++) {
    const names = Array.from({ length: namesEach }, (_, index) => nameOf(tenant * namesEach + index));
    await writeFile(
      join(at, `tenant-${tenant}.yaml`),
      `tenant: tenant-${tenant}
serverNames:
${names.map((name) => `  - ${name}`).join('\n')}
upstreams: { sync: { nodes: ['http://127.0.0.1:1'] } }
routes:
  - { name: any, match: { methods: [GET], path: '/**' }, require: none, upstream: sync }
`,
    );
  }
}
