/** Fetches small texts over HTTP, bounded in time and size. */

import { Agent, request } from 'undici';
import { MIB } from '../core/units.ts';

const TIMEOUT_MS = 5000;
const MAX_BYTES = MIB;

export class TextFetcher {
  readonly #agent = new Agent({ allowH2: false, connect: { timeout: TIMEOUT_MS } });

  /** Resolves to the body of a 200, or to what went wrong. Follows no redirects. Never rejects. */
  async fetch(url: URL): Promise<string | { readonly fault: string }> {
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const { statusCode, body } = await request(url, { dispatcher: this.#agent, signal });
      if (statusCode !== 200) {
        await body.dump();
        return { fault: `the issuer answered ${statusCode}` };
      }
      const chunks: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of body) {
        bytes += chunk.length;
        if (bytes > MAX_BYTES) return { fault: `the answer is larger than ${MAX_BYTES} bytes` };
        chunks.push(chunk);
      }
      return Buffer.concat(chunks).toString('utf8');
    } catch (error) {
      return { fault: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
    }
  }

  close(): void {
    void this.#agent.destroy();
  }
}
