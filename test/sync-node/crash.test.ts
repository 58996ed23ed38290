/** A node killed at any moment comes back with the old or the new version, whole, and loses nothing it confirmed. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { newFolder } from '../new-folder.ts';
import { SeededRandom } from '../patch/seeded-random.ts';
import { ask, patchPath, put } from './asking.ts';
import { patchHeaders, prologueAt } from './set-node.ts';
import { type MadePatch, MODEL, Training } from './training.ts';

const kills = Number(process.env['KILLS'] ?? 200);
const wholeFile = /^(state\.json|uploads|[0-9]+\.(safetensors|patch))$/;
const program = join(import.meta.dirname, 'node-process.ts');

interface RunningNode {
  readonly url: string;
  /** Kills the process at once; resolves when it is gone. */
  kill(): Promise<void>;
}

/** Starts a node as its own process; compiled code is kept in `cache`, since compiling is most of a start. */
async function startNode(root: string, cache: string): Promise<RunningNode> {
  const child = spawn(process.execPath, [program, root], {
    env: { NODE_COMPILE_CACHE: cache },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const gone = once(child, 'exit');
  const kill = async () => {
    child.kill('SIGKILL');
    await gone;
  };
  return { url: await addressOf(child), kill };
}

/** The address a node prints when it listens. */
async function addressOf({ stdout }: ChildProcess): Promise<string> {
  let text = '';
  for await (const part of stdout ?? []) {
    text += part;
    const [url] = /http:\/\/[0-9.:]+(?=\n)/.exec(text) ?? [];
    if (url !== undefined) return url;
  }
  throw new Error(`the node did not start: ${text}`);
}

/** One model, its push loop, and what was confirmed. */
class Loop {
  readonly #training: Training;
  readonly #made: MadePatch[] = [];
  confirmed = 0;

  constructor(training: Training) {
    this.#training = training;
  }

  /** The patch that makes the next version, made when first asked for. */
  async next(): Promise<MadePatch> {
    const base = this.confirmed;
    this.#made[base] ??= await this.#training.patch(base, await this.#training.train(base));
    return this.#made[base];
  }

  /** Pushes version after version until the node is gone. */
  async push(url: string): Promise<void> {
    for (;;) {
      const { streamId, bytes } = await this.next();
      const path = patchPath(streamId);
      const answer = await ask(url, 'PUT', path, { headers: patchHeaders, body: bytes }).catch(
        () => undefined,
      );
      if (answer === undefined) return;
      if (answer.status !== 201) throw new Error(`answered with ${answer.status}`, { cause: answer.json });
      this.confirmed += 1;
    }
  }

  /** Resumes an upload that a kill cut off; undefined if nothing of it is left. */
  async goOn(url: string): Promise<number | undefined> {
    const { streamId, bytes } = await this.next();
    const path = patchPath(streamId);
    const { status, headers } = await ask(url, 'HEAD', path);
    if (status !== 204) return undefined;
    const offset = Number(headers['upload-offset']);
    const body = Buffer.concat([prologueAt(bytes, offset), bytes.subarray(offset)]);
    const fields = { ...patchHeaders, 'upload-offset': String(offset) };
    const answer = await ask(url, 'PATCH', path, { headers: fields, body });
    this.confirmed += answer.status === 201 ? 1 : 0;
    return answer.status;
  }

  /** Compares the node with what it confirmed: it has that, or the version whose answer was lost. */
  async check(t: Test, url: string): Promise<void> {
    const { json } = await ask(url, 'GET', `/v1/models/${MODEL}`);
    const version = Number(json['version']);
    const expected = version === this.confirmed || version === this.confirmed + 1;
    t.ok(expected, `the node is at version ${version} with ${this.confirmed} confirmed`);
    if (version > 0) t.equal(json['digest'], this.#made[version - 1]?.digest);
    const weights = await ask(url, 'GET', `/v1/models/${MODEL}/weights`);
    t.ok(weights.body.equals(await this.#training.read(version)), 'the weights are those of the version');
    this.confirmed = version;
  }
}

/** A model at version 0 under the root of a node, and its push loop. */
async function setLoop(root: string, folder: string): Promise<Loop> {
  const training = await Training.begin(folder, 70, [
    ['w', 'F32', [60, 100]],
    ['x', 'BF16', [3000]],
  ]);
  await createModel(root, MODEL, training.pathOf(0));
  return new Loop(training);
}

t.test('a node killed while patches arrive keeps what it confirmed, and whole versions', async (t) => {
  const folder = await newFolder(t);
  const [root, cache] = [join(folder, 'models'), join(folder, 'compiled')];
  const loop = await setLoop(root, folder);
  const random = new SeededRandom(71);
  let [applied, gone] = [0, 0];

  let node = await startNode(root, cache);
  t.teardown(() => node.kill());
  const beganMs = performance.now();
  t.equal((await put(node.url, await loop.next())).status, 201);
  const pushMs = performance.now() - beganMs;
  loop.confirmed = 1;
  for (let killed = 0; killed < kills; killed++) {
    await loop.next();
    const pushing = loop.push(node.url);
    await delay(random.next() * 2 * pushMs);
    await node.kill();
    await pushing;

    node = await startNode(root, cache);
    const before = loop.confirmed;
    await loop.check(t, node.url);
    applied += loop.confirmed - before;
    const left = (await readdir(join(root, MODEL))).filter((name) => !wholeFile.test(name));
    t.same(left, [], 'nothing half-done is left');
    const resumed = await loop.goOn(node.url);
    if (resumed === undefined) continue;
    gone += 1;
    t.equal(resumed, 201, 'the cut upload resumes');
    await loop.check(t, node.url);
  }
  t.comment(`${kills} kills: ${applied} answers lost, ${gone} uploads gone on with`);
});
