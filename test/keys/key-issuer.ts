/** An issuer of keys over HTTP, the key set that follows it, and tokens signed with its keys. */

import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CompactSign, exportJWK, generateKeyPair, type JWK } from 'jose';
import { RemoteKeySet, type RemoteKeySettings } from '../../gateway/keys/key-set.ts';

interface Signer {
  readonly jwk: JWK;
  sign(header?: Readonly<Record<string, unknown>>): Promise<string>;
}

export async function signer(kid: string, alg = 'ES256'): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' };
  const sign = (header = {}) =>
    new CompactSign(Buffer.from('{}')).setProtectedHeader({ alg, kid, ...header }).sign(privateKey);
  return { jwk, sign };
}

export const setOf = (...keys: readonly JWK[]) => JSON.stringify({ keys });

/** An issuer that answers as told, and a clock that stands still until it is moved. */
export class Issuer {
  answer: RequestListener = (_, response) => response.writeHead(500).end();
  requests = 0;
  nowMs = 0;
  changes = 0;
  readonly faults: (string | undefined)[] = [];
  readonly #server = createServer((request, response) => {
    this.requests += 1;
    this.answer(request, response);
  });

  async start(more: Partial<RemoteKeySettings> = {}): Promise<RemoteKeySet> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const { port } = this.#server.address() as AddressInfo;
    return new RemoteKeySet(new URL(`http://127.0.0.1:${port}/jwks.json`), {
      refreshMs: 600_000,
      keepMs: 86_400_000,
      ...more,
      now: () => this.nowMs,
      onFetch: (fault) => this.faults.push(fault),
      onChange: () => {
        this.changes += 1;
      },
    });
  }

  publish(...keys: readonly JWK[]): void {
    this.answer = (_, response) => response.end(setOf(...keys));
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

export async function withIssuer(
  run: (issuer: Issuer, keys: RemoteKeySet) => Promise<void>,
  more: Partial<RemoteKeySettings> = {},
): Promise<void> {
  const issuer = new Issuer();
  const keys = await issuer.start(more);
  try {
    await run(issuer, keys);
  } finally {
    keys.close();
    issuer.stop();
  }
}

export const verified = (version: number) => ({ kind: 'verified', version }) as const;

/** Waits for a fetch in the background to finish. */
export async function fetched(issuer: Issuer, count: number): Promise<void> {
  while (issuer.faults.length < count) await new Promise((resolve) => setImmediate(resolve));
}
