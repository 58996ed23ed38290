/** A chain and key are replaced every 200 ms under load: failed handshakes and requests. */

import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Caller } from './load.ts';
import { HOST } from './names.ts';
import type { Yard } from './yard.ts';

const EVERY_MS = 200;
const PAIRS = 10;
const CONNECTING = 4;
const KEPT = 4;

export interface RotationResult {
  readonly rotations: number;
  readonly handshakes: number;
  readonly failedHandshakes: number;
  readonly requests: number;
  readonly failedRequests: number;
  /** Rotations whose chain was presented in a handshake. */
  readonly seen: number;
  /** Longest time from the writing of a pair to the first handshake that presented it. */
  readonly slowestMs: number;
}

/** Runs callers that connect for one request each, and callers that keep their connection, during rotations. */
export async function rotate(yard: Yard, seconds: number): Promise<RotationResult> {
  const run = new Rotation(yard, performance.now() + seconds * 1000);
  await run.prepare();
  await Promise.all([
    run.replace(),
    ...Array.from({ length: CONNECTING }, () => run.comeAndGo()),
    ...Array.from({ length: KEPT }, () => run.stay()),
  ]);
  return run.result();
}

class Rotation {
  readonly #yard: Yard;
  readonly #untilMs: number;
  readonly #pairs: { readonly chain: string; readonly key: string; readonly serial: string }[] = [];
  /** By serial number: when the pair was last written, and whether it has been presented since. */
  readonly #written = new Map<string, { atMs: number; shown: boolean }>();
  #rotations = 0;
  #handshakes = 0;
  #failedHandshakes = 0;
  #requests = 0;
  #failedRequests = 0;
  #seen = 0;
  #slowestMs = 0;

  constructor(yard: Yard, untilMs: number) {
    this.#yard = yard;
    this.#untilMs = untilMs;
  }

  async prepare(): Promise<void> {
    for (let left = PAIRS; left > 0; left--) {
      const pair = await this.#yard.servers.issueServer({ dnsNames: [HOST] });
      const { certificatePem: chain, privateKeyPem: key, serialNumber } = pair;
      this.#pairs.push({ chain, key, serial: bare(serialNumber) });
    }
  }

  /** Writes the two files one after the other, as most tools do, so that for a moment they do not match. */
  async replace(): Promise<void> {
    while (this.#goesOn) {
      const pair = this.#pairs[this.#rotations % PAIRS];
      if (pair === undefined) throw new Error('no pairs');
      await writeFile(join(this.#yard.certificates, 'key.pem'), pair.key);
      await writeFile(join(this.#yard.certificates, 'chain.pem'), pair.chain);
      this.#written.set(pair.serial, { atMs: performance.now(), shown: false });
      this.#rotations += 1;
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  }

  async comeAndGo(): Promise<void> {
    while (this.#goesOn) {
      this.#handshakes += 1;
      try {
        const socket = await this.#yard.connect(this.#yard.patchgate);
        this.#look(bare(socket.getPeerX509Certificate()?.serialNumber ?? ''));
        const caller = new Caller(socket, this.#yard.token);
        await this.#ask(caller);
        const closed = once(socket, 'close');
        caller.close();
        await closed;
      } catch {
        this.#failedHandshakes += 1;
      }
    }
  }

  async stay(): Promise<void> {
    const caller = new Caller(await this.#yard.connect(this.#yard.patchgate), this.#yard.token);
    while (this.#goesOn) {
      await this.#ask(caller);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    caller.close();
  }

  result(): RotationResult {
    return {
      rotations: this.#rotations,
      handshakes: this.#handshakes,
      failedHandshakes: this.#failedHandshakes,
      requests: this.#requests,
      failedRequests: this.#failedRequests,
      seen: this.#seen,
      slowestMs: this.#slowestMs,
    };
  }

  get #goesOn(): boolean {
    return performance.now() < this.#untilMs;
  }

  async #ask(caller: Caller): Promise<void> {
    this.#requests += 1;
    const answer = await caller.get('/v1/models/bench').catch(() => undefined);
    if (answer?.status !== 200) this.#failedRequests += 1;
  }

  #look(serial: string): void {
    const written = this.#written.get(serial);
    if (written === undefined || written.shown) return;
    written.shown = true;
    this.#seen += 1;
    this.#slowestMs = Math.max(this.#slowestMs, performance.now() - written.atMs);
  }
}

/** Normalizes a serial number, which the two libraries write differently. */
function bare(serial: string): string {
  return serial.toLowerCase().replace(/^0+/, '');
}
