/** A node that is killed at any moment comes back with the old version or the new one, whole, and loses nothing it confirmed. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { SeededRandom } from '../patch/seeded-random.ts';
import { ask, put } from './asking.ts';
import { type MadePatch, MODEL, Training } from './training.ts';

const kills = 15;
const wholeFile = /^(state\.json|[0-9]+\.safetensors)$/;
const cli = join(import.meta.dirname, '../../gateway/cli.ts');

interface RunningNode {
  readonly url: string;
  /** Ends the process on the spot; resolves once it is gone. */
  kill(): Promise<void>;
}

/** Starts `patchgate node` as a process of its own. */
async function startNode(root: string): Promise<RunningNode> {
  const words = [cli, 'node', '--root', root, '--listen', '127.0.0.1:0'];
  const child = spawn(process.execPath, words, { env: {}, stdio: ['ignore', 'pipe', 'inherit'] });
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
    const [url] = /http:\/\/[0-9.:]+/.exec(text) ?? [];
    if (url !== undefined) return url;
  }
  throw new Error(`the node did not start: ${text}`);
}

/** Patches from each version to the next, made as they are needed. */
class Patches {
  readonly #training: Training;
  readonly #made: MadePatch[] = [];

  constructor(training: Training) {
    this.#training = training;
  }

  /** The patch that makes the version after the given one. */
  async from(version: number): Promise<MadePatch> {
    this.#made[version] ??= await this.#training.patch(version, await this.#training.train(version));
    return this.#made[version];
  }

  /** Digest of a version. */
  digestOf(version: number): string | undefined {
    return this.#made[version - 1]?.digest;
  }
}

/** Pushes version after version until the node is gone; `confirm` hears of each it confirmed. */
async function pushOn(url: string, patches: Patches, version: number, confirm: (version: number) => void) {
  for (let base = version; ; base++) {
    const patch = await patches.from(base);
    const answer = await put(url, patch).catch(() => undefined);
    if (answer === undefined) return;
    if (answer.status !== 201)
      throw new Error(`a push was answered with ${answer.status}`, { cause: answer.json });
    confirm(base + 1);
  }
}

t.test('killed while patches arrive, a node keeps what it confirmed, and every version whole', async (t) => {
  const folder = t.testdir({});
  const training = await Training.begin(folder, 70, [
    ['w', 'F32', [300, 400]],
    ['x', 'BF16', [30_000]],
  ]);
  const root = join(folder, 'models');
  await createModel(root, MODEL, training.pathOf(0));
  const patches = new Patches(training);
  const first = await patches.from(0);
  const random = new SeededRandom(71);

  let node = await startNode(root);
  t.teardown(() => node.kill());
  const beganMs = performance.now();
  t.equal((await put(node.url, first)).status, 201);
  const pushMs = performance.now() - beganMs;
  let confirmed = 1;
  for (let killed = 0; killed < kills; killed++) {
    await patches.from(confirmed);
    const pushing = pushOn(node.url, patches, confirmed, (version) => {
      confirmed = version;
    });
    await delay(random.next() * 2 * pushMs);
    await node.kill();
    await pushing;

    node = await startNode(root);
    const { json } = await ask(node.url, 'GET', `/v1/models/${MODEL}`);
    const version = Number(json['version']);
    t.ok(
      version === confirmed || version === confirmed + 1,
      `version ${version}, ${confirmed} was confirmed`,
    );
    t.equal(json['digest'], patches.digestOf(version));
    const weights = await ask(node.url, 'GET', `/v1/models/${MODEL}/weights`);
    t.ok(weights.body.equals(await training.read(version)), 'the weights are those of the version');
    const left = (await readdir(join(root, MODEL))).filter((name) => !wholeFile.test(name));
    t.same(left, [], 'nothing half-done is left');
    confirmed = version;
  }
});
