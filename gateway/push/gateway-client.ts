/** A client of the gateway: sends requests with the caller's certificate and token, and keeps connections open. */

import type { Readable } from 'node:stream';
import { Agent, request } from 'undici';

/** Where the gateway is, and the caller's credentials. */
export interface GatewayAddress {
  /** `https://tenant-a.example.com:8443`; plain `http:` on trusted networks. */
  readonly to: string;
  /** Connects there, while TLS and `Host` keep the name in `to`. */
  readonly connectTo?: { readonly host: string; readonly port: number };
  readonly certPem?: string;
  readonly keyPem?: string;
  readonly caPem?: string;
  readonly token?: string;
}

export interface GatewayRequest {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Readable;
  readonly signal?: AbortSignal;
}

export interface GatewayAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** An answer whose body is still arriving; read it to its end or destroy it. */
export interface GatewayStream extends Omit<GatewayAnswer, 'body'> {
  readonly body: Readable;
}

export type GatewayMethod = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH';

/** The address of the gateway is not an http or https URL. */
export class GatewayAddressError extends Error {
  override readonly name = 'GatewayAddressError';
}

const HEADERS_TIMEOUT_MS = 120_000;
const BODY_TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_MS = 10_000;

/** The constructor throws GatewayAddressError. */
export class GatewayClient {
  readonly #origin: string;
  readonly #host: string;
  readonly #token: string | undefined;
  readonly #agent: Agent;

  constructor(address: GatewayAddress) {
    const to = readAddress(address.to);
    const { connectTo, certPem, keyPem, caPem } = address;
    this.#origin =
      connectTo === undefined ? to.origin : `${to.protocol}//${bracketed(connectTo.host)}:${connectTo.port}`;
    this.#host = to.host;
    this.#token = address.token;
    this.#agent = new Agent({
      allowH2: false,
      headersTimeout: HEADERS_TIMEOUT_MS,
      bodyTimeout: BODY_TIMEOUT_MS,
      connect: {
        timeout: CONNECT_TIMEOUT_MS,
        servername: to.hostname,
        ...(certPem !== undefined && { cert: certPem }),
        ...(keyPem !== undefined && { key: keyPem }),
        ...(caPem !== undefined && { ca: caPem }),
      },
    });
  }

  /** Resolves for any status; rejects only if no answer comes. Collects the body in memory. */
  async send(method: GatewayMethod, path: string, more: GatewayRequest = {}): Promise<GatewayAnswer> {
    const { status, headers, body } = await this.stream(method, path, more);
    const parts: Buffer[] = [];
    for await (const part of body) parts.push(part);
    return { status, headers, body: Buffer.concat(parts) };
  }

  /** Like `send`, with the body as a stream. */
  async stream(method: GatewayMethod, path: string, more: GatewayRequest = {}): Promise<GatewayStream> {
    const response = await request(`${this.#origin}${path}`, {
      method,
      ...more,
      dispatcher: this.#agent,
      headers: {
        ...more.headers,
        host: this.#host,
        ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
      },
    });
    return { status: response.statusCode, headers: response.headers, body: response.body };
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }
}

function readAddress(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:' || url?.protocol === 'http:') return url;
  throw new GatewayAddressError(`${text} is not an http or https URL`);
}

const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);
