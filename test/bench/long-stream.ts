/** A stream that runs while the policy is reloaded repeatedly; it must arrive whole. */

import { createHash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:tls';
import { HOST } from './names.ts';
import { openUpgradeYard } from './upgrade-yard.ts';

export interface LongStreamResult {
  readonly seconds: number;
  readonly bytes: number;
  readonly reloads: number;
  /** Whether the node received exactly what was sent. */
  readonly isWhole: boolean;
}

const PIECE_BYTES = 256 * 1024;
const PAUSE_MS = 20;

/** Streams for `seconds` and spreads `reloads` over them, each with a changed policy file. */
export async function streamAcross(reloads: number, seconds: number): Promise<LongStreamResult> {
  const yard = await openUpgradeYard();
  try {
    const policy = await readFile(yard.tenantFile, 'utf8');
    const socket = connect(yard.tls);
    let answer = '';
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString();
    });
    socket.write(
      `PUT /up HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n`,
    );
    const hash = createHash('sha256');
    const startMs = performance.now();
    let [bytes, done] = [0, 0];
    while (performance.now() - startMs < seconds * 1000) {
      const piece = randomBytes(PIECE_BYTES);
      hash.update(piece);
      bytes += piece.length;
      socket.write(`${piece.length.toString(16)}\r\n`);
      socket.write(piece);
      if (!socket.write('\r\n')) await new Promise((resolve) => socket.once('drain', resolve));
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      if (done === reloads || (performance.now() - startMs) / 1000 < (done * seconds) / reloads) continue;
      done += 1;
      await writeFile(yard.tenantFile, `# ${done}\n${policy}`);
      await fetch(`${yard.admin}/reload`, { method: 'POST' });
    }
    socket.write('0\r\n\r\n');
    await new Promise((resolve) => socket.on('close', resolve));
    const isWhole = answer.startsWith('HTTP/1.1 200 ') && answer.includes(hash.digest('hex'));
    return { seconds, bytes, reloads: done, isWhole };
  } finally {
    await yard.close();
  }
}
