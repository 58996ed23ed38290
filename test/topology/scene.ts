/** The running stack with a worker of tenant-a, and the load on it while its parts are killed. */

import { join } from 'node:path';
import type { Test } from 'tap';
import { MODEL } from '../../gateway/demo/stack.ts';
import { pushPatch } from '../../gateway/push/push.ts';
import { sleep } from '../path/stage.ts';
import { type Attempt, keepAsking, type Worker, workerOf } from './callers.ts';
import { openYard, type Yard } from './yard.ts';

/** Callers on the list `fleet` of tenant-a, which lives in etcd. */
export const FLEET = ['127.0.0.10', '127.0.0.11', '127.0.0.12', '127.0.0.13'] as const;

/** The caller whose turn it is when all of the fleet take turns. */
export const fleetCaller = (turn: number): string => FLEET[turn % FLEET.length] ?? FLEET[0];

/** What the phases of the test work on, one after the other. */
export interface Scene {
  readonly yard: Yard;
  readonly worker: Worker;
}

export async function openScene(t: Test): Promise<Scene> {
  const yard = await openYard(t);
  return { yard, worker: await workerOf(yard, 'tenant-a') };
}

/** The file of a model that the stack was prepared with. */
export const modelPath = ({ folder }: Yard, name: 'epoch' | 'large', number: number): string =>
  join(folder, 'models', `${name}-${number}.safetensors`);

/** Small requests to tenant-a and pushes to tenant-b, without a pause until it is stopped. */
export interface Load {
  /** The requests answered so far. */
  readonly attempts: readonly Attempt[];
  /** The versions made by the pushes, once the load has stopped; rejects if one failed. */
  readonly pushes: Promise<readonly number[]>;
  stop(): Promise<void>;
}

export function beginLoad({ yard, worker }: Scene): Load {
  const attempts: Attempt[] = [];
  let stopped = false;
  const isStopped = (): boolean => stopped;
  const asking = [...FLEET, ...FLEET].map((address) => keepAsking(worker, address, attempts, isStopped));
  return {
    attempts,
    pushes: keepPushing(yard, isStopped),
    stop: async () => {
      stopped = true;
      await Promise.all(asking);
    },
  };
}

async function keepPushing(yard: Yard, isStopped: () => boolean): Promise<readonly number[]> {
  const worker = await workerOf(yard, 'tenant-b');
  const versions: number[] = [];
  for (let round = 0; !isStopped(); round += 1) {
    const basePath = modelPath(yard, 'epoch', round % 2);
    const targetPath = modelPath(yard, 'epoch', (round + 1) % 2);
    const push = { ...worker, modelId: MODEL, basePath, targetPath };
    versions.push((await begunAnew(() => pushPatch(push))).version);
    await sleep(200);
  }
  return versions;
}

/** A push whose first question meets a gateway that died fails before it has begun; it is begun once more. */
async function begunAnew<T>(push: () => Promise<T>): Promise<T> {
  try {
    return await push();
  } catch (error) {
    if (!String(error).includes('the gateway cannot be reached')) throw error;
    return push();
  }
}
