/** A node that is killed at any moment comes back with the old version or the new one, whole, and loses nothing it confirmed. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { SeededRandom } from '../patch/seeded-random.ts';
import { ask, patchPath, put } from './asking.ts';
import { patchHeaders, prologueAt } from './set-node.ts';
import { type MadePatch, Training } from './training.ts';

/** Each kill meets every model's push loop at a moment of its own: 200 in all. */
const models = ['model_a', 'model_b', 'model_c', 'model_d'];
const kills = Number(process.env['KILLS'] ?? 50);
const wholeFile = /^(state\.json|uploads|[0-9]+\.(safetensors|patch))$/;
const program = join(import.meta.dirname, 'node-process.ts');

interface RunningNode {
  readonly url: string;
  /** Ends the process on the spot; resolves once it is gone. */
  kill(): Promise<void>;
}

/** Starts a node as a process of its own; compiled code is kept in `cache`, or starting would take most of the time. */
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

/** One model, its push loop, and what was confirmed of it. */
class Loop {
  readonly model: string;
  readonly #training: Training;
  readonly #made: MadePatch[] = [];
  confirmed = 0;

  constructor(model: string, training: Training) {
    this.model = model;
    this.#training = training;
  }

  /** The patch that makes the next version, made when it is first asked for. */
  async next(): Promise<MadePatch> {
    const base = this.confirmed;
    this.#made[base] ??= await this.#training.patch(
      base,
      await this.#training.train(base),
      base,
      base + 1,
      undefined,
      this.model,
    );
    return this.#made[base];
  }

  /** Pushes version after version until the node is gone. */
  async push(url: string): Promise<void> {
    for (;;) {
      const { streamId, bytes } = await this.next();
      const path = patchPath(streamId, this.model);
      const answer = await ask(url, 'PUT', path, { headers: patchHeaders, body: bytes }).catch(
        () => undefined,
      );
      if (answer === undefined) return;
      if (answer.status !== 201) throw new Error(`answered with ${answer.status}`, { cause: answer.json });
      this.confirmed += 1;
    }
  }

  /** Goes on with an upload that a kill cut off; nothing where none of it is left. */
  async goOn(url: string): Promise<number | undefined> {
    const { streamId, bytes } = await this.next();
    const path = patchPath(streamId, this.model);
    const { status, headers } = await ask(url, 'HEAD', path);
    if (status !== 204) return undefined;
    const offset = Number(headers['upload-offset']);
    const body = Buffer.concat([prologueAt(bytes, offset), bytes.subarray(offset)]);
    const fields = { ...patchHeaders, 'upload-offset': String(offset) };
    const answer = await ask(url, 'PATCH', path, { headers: fields, body });
    this.confirmed += answer.status === 201 ? 1 : 0;
    return answer.status;
  }

  /** Holds what the node has against what it confirmed: that, or the version whose answer was lost. */
  async check(t: Test, url: string): Promise<void> {
    const { json } = await ask(url, 'GET', `/v1/models/${this.model}`);
    const version = Number(json['version']);
    const expected = version === this.confirmed || version === this.confirmed + 1;
    t.ok(expected, `${this.model} is at version ${version}, ${this.confirmed} was confirmed`);
    if (version > 0) t.equal(json['digest'], this.#made[version - 1]?.digest);
    const weights = await ask(url, 'GET', `/v1/models/${this.model}/weights`);
    t.ok(weights.body.equals(await this.#training.read(version)), 'the weights are those of the version');
    this.confirmed = version;
  }
}

async function setLoops(root: string, folder: string): Promise<readonly Loop[]> {
  const loops = models.map(async (model, k) => {
    const own = join(folder, model);
    await mkdir(own);
    const training = await Training.begin(own, 70 + k, [
      ['w', 'F32', [60, 100]],
      ['x', 'BF16', [3000]],
    ]);
    await createModel(root, model, training.pathOf(0));
    return new Loop(model, training);
  });
  return Promise.all(loops);
}

t.test('killed while patches arrive, a node keeps what it confirmed, and every version whole', async (t) => {
  const folder = t.testdir({});
  const [root, cache] = [join(folder, 'models'), join(folder, 'compiled')];
  const loops = await setLoops(root, folder);
  const random = new SeededRandom(71);
  let [applied, gone] = [0, 0];

  let node = await startNode(root, cache);
  t.teardown(() => node.kill());
  const beganMs = performance.now();
  for (const loop of loops) t.equal((await put(node.url, await loop.next(), loop.model)).status, 201);
  const pushMs = performance.now() - beganMs;
  for (const loop of loops) loop.confirmed = 1;
  for (let killed = 0; killed < kills; killed++) {
    for (const loop of loops) await loop.next();
    const pushing = loops.map((loop) => loop.push(node.url));
    await delay(random.next() * 2 * pushMs);
    await node.kill();
    await Promise.all(pushing);

    node = await startNode(root, cache);
    for (const loop of loops) {
      const before = loop.confirmed;
      await loop.check(t, node.url);
      applied += loop.confirmed - before;
      const left = (await readdir(join(root, loop.model))).filter((name) => !wholeFile.test(name));
      t.same(left, [], 'nothing half-done is left');
      const resumed = await loop.goOn(node.url);
      if (resumed === undefined) continue;
      gone += 1;
      t.equal(resumed, 201, 'what was cut off goes on');
      await loop.check(t, node.url);
    }
  }
  t.comment(`${kills * loops.length} loops cut: ${applied} answers lost, ${gone} uploads gone on with`);
});
