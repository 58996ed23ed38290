/** The demo: train, push, verify, show refusals, then keep running so that requests can be made by hand. */

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { GatewayClient } from '../push/gateway-client.ts';
import { formatBytes } from '../push/progress.ts';
import { writeCurlLines } from './curl-lines.ts';
import { developmentTenants, serverNameOf } from './development-pki.ts';
import { type AttemptResult, tryRefusals } from './refusals.ts';
import { MODEL, type Stack, startStack } from './stack.ts';
import { EPOCHS, type EpochReport, Trainer } from './training.ts';

export interface DemoOptions {
  /** Folder of the development PKI, which is created if necessary. */
  readonly certificatesFolder: string;
  readonly version: string;
  readonly write: (text: string) => void;
  /** Paths below it are printed relative to it. */
  readonly workingFolder: string;
  /** End after the last check instead of running on. */
  readonly once: boolean;
  readonly colours: boolean;
  /** Ends a demo that keeps running. */
  readonly signal: AbortSignal;
}

/** Runs the demo in a temporary folder, which is removed at the end. Resolves to whether every check passed. */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'patchgate-demo-'));
  try {
    const trainer = new Trainer(folder);
    await trainer.save();
    const { certificatesFolder, version } = options;
    const basePath = trainer.weightsPath;
    const stack = await startStack({ folder, certificatesFolder, basePath, version });
    try {
      return await new Story(options, stack, trainer).tell();
    } finally {
      await stack.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

class Story {
  readonly #options: DemoOptions;
  readonly #stack: Stack;
  readonly #trainer: Trainer;
  #failed = false;

  constructor(options: DemoOptions, stack: Stack, trainer: Trainer) {
    this.#options = options;
    this.#stack = stack;
    this.#trainer = trainer;
  }

  async tell(): Promise<boolean> {
    this.#introduce();
    await this.#train();
    await this.#prove();
    await this.#refuse();
    await this.#showLog();
    if (!this.#failed && !this.#options.once) await this.#stay();
    return !this.#failed;
  }

  #introduce(): void {
    const { nodes, port, admin, policyFolder } = this.#stack;
    this.#line(`patchgate ${this.#options.version}: weights cross a gateway on this machine`);
    this.#line();
    for (const tenant of developmentTenants) {
      this.#line(`  https://${serverNameOf(tenant)}:${port}  →  gateway  →  sync node ${nodes[tenant].url}`);
    }
    this.#line(`  admin ${admin}, policy ${policyFolder}`);
  }

  async #train(): Promise<void> {
    this.#title('A worker of tenant-a trains a text classifier and pushes each epoch as a patch');
    this.#line('  epoch    loss   held out   weights changed      sent of the whole model              time');
    const token = await this.#stack.token('tenant-a', 'finetune');
    for (let epoch = 1; epoch <= EPOCHS; epoch++) {
      this.#line(formatEpoch(await this.#trainer.runEpoch(this.#stack, token)));
    }
  }

  async #prove(): Promise<void> {
    this.#title('What the sync node has now');
    const own = await readFile(this.#trainer.weightsPath);
    const received = await this.#download();
    this.#check(
      own.equals(received),
      `the node's ${received.length.toLocaleString('en')} bytes of weights are the trainer's, bit for bit`,
    );
  }

  async #download(): Promise<Buffer> {
    const token = await this.#stack.token('tenant-a', 'read');
    const client = new GatewayClient({ ...(await this.#stack.addressOf('tenant-a')), token });
    try {
      const { status, body } = await client.send('GET', `/v1/models/${MODEL}/weights`);
      return status === 200 ? body : Buffer.alloc(0);
    } finally {
      await client.close();
    }
  }

  async #refuse(): Promise<void> {
    this.#title('What does not get through');
    const before = await this.#versions();
    for (const refusal of await tryRefusals(this.#stack, this.#trainer.weightsPath))
      this.#tellRefusal(refusal);
    const untouched = before === (await this.#versions());
    this.#check(untouched, `none of this changed a weight: ${before}`);
  }

  #tellRefusal({ title, answer, expected }: AttemptResult): void {
    this.#check(expected, title);
    this.#line(`    ${answer.trim()}`);
  }

  /** Asks each node directly, not through the gateway, for its version. */
  async #versions(): Promise<string> {
    const versions = developmentTenants.map(async (tenant) => {
      const response = await fetch(`${this.#stack.nodes[tenant].url}/v1/models/${MODEL}`);
      const { version } = (await response.json()) as { readonly version: number };
      return `${tenant} at version ${version}`;
    });
    return (await Promise.all(versions)).join(', ');
  }

  async #showLog(): Promise<void> {
    const { accessLog } = this.#stack;
    const lines = await settledLines(accessLog);
    this.#title(`One line per request in ${accessLog}, the last of ${lines.length}`);
    this.#line(`  ${lines.at(-1) ?? ''}`);
  }

  async #stay(): Promise<void> {
    const { workingFolder, signal } = this.#options;
    this.#title('Try it by hand; Ctrl-C stops the demo');
    const shown = (path: string): string => {
      const near = relative(workingFolder, path);
      return near.startsWith('..') ? path : near;
    };
    for (const line of await writeCurlLines(this.#stack, this.#trainer, shown)) this.#line(`  ${line}`);
    if (signal.aborted) return;
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    this.#line();
  }

  #check(good: boolean, claim: string): void {
    if (!good) this.#failed = true;
    this.#line(good ? `  ${this.#colour(32, '✓')} ${claim}` : `  ${this.#colour(31, '✗ failed:')} ${claim}`);
  }

  #title(text: string): void {
    this.#line();
    this.#line(this.#colour(1, text));
  }

  #line(text = ''): void {
    this.#options.write(`${text}\n`);
  }

  /** SGR parameters of ECMA-48 §8.3.117. */
  #colour(code: number, text: string): string {
    return this.#options.colours ? `\u001b[${code}m${text}\u001b[0m` : text;
  }
}

function formatEpoch({ epoch, loss, accuracy, push }: EpochReport): string {
  const share = percent(push.changed / push.parameters);
  const sent = `${formatBytes(push.bytesSent)} of ${formatBytes(push.modelBytes)}`;
  return [
    String(epoch).padStart(7),
    loss.toFixed(3).padStart(8),
    percent(accuracy).padStart(11),
    `${push.changed.toLocaleString('en')} (${share})`.padStart(18),
    `${sent} (${percent(push.bytesSent / push.modelBytes)})`.padStart(32),
    `${push.durationMs.toFixed(0)} ms`.padStart(10),
  ].join('');
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

/** The access log is written with a delay. Resolves to its lines once two readings, 150 ms apart, have as many. */
async function settledLines(path: string): Promise<readonly string[]> {
  let lines: readonly string[] = [];
  for (;;) {
    const text = await readFile(path, 'utf8').catch(() => '');
    const now = text.split('\n').filter((line) => line !== '');
    if (now.length > 0 && now.length === lines.length) return now;
    lines = now;
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
}
