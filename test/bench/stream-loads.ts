/** One long stream, up or down, and weight patches that are checked in passing. */

import { MIB } from '../../gateway/core/units.ts';
import { WEIGHT_PATCH_TYPE } from '../../gateway/patch/layout.ts';
import type { Caller } from './load.ts';
import { type Load, measured, requireStatus, withCaller } from './measure.ts';
import { patchStream } from './patch-stream.ts';
import type { RivalName } from './rivals.ts';

const PIECE = Buffer.alloc(256 * 1024, 'w');
const RIVALS: readonly RivalName[] = ['HAProxy', 'nginx', 'http-proxy', '@fastify/http-proxy'];
const NODE_RIVALS = { 'http-proxy': 1 / 1.8, '@fastify/http-proxy': 1 / 1.8 };

/** Yields a body of that many bytes in pieces. */
export function* body(bytes: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= PIECE.length) {
    yield left >= PIECE.length ? PIECE : PIECE.subarray(0, left);
  }
}

/** Converts to seconds per GiB. */
const perGib = (ns: number, bytes: number): number => (ns / 1e9 / bytes) * 1024 * MIB;

/** Rejects unless the node got every byte. */
export async function upload(
  caller: Caller,
  path: string,
  pieces: Iterable<Buffer>,
  bytes: number,
): Promise<void> {
  const answer = await caller.put(path, WEIGHT_PATCH_TYPE, pieces, bytes);
  requireStatus(answer, 200, 'an upload');
  if (Number(answer.body) !== bytes) throw new Error(`the node got ${answer.body} of ${bytes} bytes`);
}

/** Rejects unless every byte arrived. */
export async function download(caller: Caller, bytes: number): Promise<void> {
  const answer = await caller.get(`/down/${bytes}`);
  requireStatus(answer, 200, 'a download');
  if (answer.bodyBytes !== bytes) throw new Error(`${answer.bodyBytes} of ${bytes} bytes arrived`);
}

export function uploadLoad(bytes: number): Load {
  return {
    name: 'upload',
    unit: 's/GiB',
    rivals: RIVALS,
    goals: { HAProxy: 1, ...NODE_RIVALS },
    run: (yard, side) =>
      withCaller(yard, side, async (caller) =>
        perGib(await measured(side, () => upload(caller, '/up', body(bytes), bytes)), bytes),
      ),
  };
}

export function downloadLoad(bytes: number): Load {
  return {
    name: 'download',
    unit: 's/GiB',
    rivals: RIVALS,
    goals: { HAProxy: 0.8, ...NODE_RIVALS },
    run: (yard, side) =>
      withCaller(yard, side, async (caller) =>
        perGib(await measured(side, () => download(caller, bytes)), bytes),
      ),
  };
}

/** The same weight patch through both proxies; only patchgate checks it. */
export async function patchLoads(bytes: number): Promise<readonly Load[]> {
  const pieces = await patchStream('bench', Math.ceil(bytes / (320 * 1024)));
  const whole = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const load = (check: string, path: string, goals: Load['goals']): Load => ({
    name: `patch upload, check: ${check}`,
    unit: 's/GiB',
    rivals: ['HAProxy'],
    goals,
    run: (yard, side) =>
      withCaller(yard, side, async (caller) =>
        perGib(await measured(side, () => upload(caller, path, pieces, whole)), whole),
      ),
  });
  return [load('header', '/checked/bench', { HAProxy: 1.4 }), load('deep', '/deep/bench', {})];
}
