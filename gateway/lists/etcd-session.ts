/**
 * Connections to etcd with one set of credentials, and the token of their user
 * (etcd.io/docs/v3.5/dev-guide/api_grpc_gateway). Each request renews a token that etcd no longer accepts at most once.
 */

import type { Readable } from 'node:stream';
import { Agent, buildConnector, type Dispatcher, request } from 'undici';
import { MIB } from '../core/units.ts';
import { backoffMs } from './backoff.ts';
import type { Access } from './server-access.ts';

const ANSWER_MS = 3000;
/** By `accept` etcd recognizes its JSON gateway, whose own certificate must not count as a user (CVE-2018-16886). */
const FIELDS = { 'content-type': 'application/json', accept: 'application/json' };
const MAX_BYTES = 64 * MIB;
/** Limit on a watch event, which is one line; etcd limits a request to 1.5 MiB by default. */
const MAX_LINE_CHARACTERS = 16 * MIB;
const MAX_PROBLEM_BYTES = 4096;
/** Messages by etcd itself. No other text of an answer is reported, because it may echo what was sent. */
const OWN_WORDS = /^(?:etcdserver: |CommonName of client )[ -~]{1,200}$/;
/** etcd has forgotten the token, has just begun to require one, or has changed its users since it issued this one. */
const TOKEN_IS_OVER = /invalid auth token|user name is empty|auth store is old/;

/** A status other than 200, or a log-in without a token. */
class EtcdRefusal extends Error {}

export class EtcdSession {
  readonly access: Access | undefined;
  readonly #agent: Agent;
  /** Absent until it is needed; resolves to undefined if etcd requires none. */
  #token: Promise<string | undefined> | undefined;
  #refusals = 0;

  constructor(access: Access | undefined) {
    this.access = access;
    this.#agent = new Agent({ connect: connectorFor(access), bodyTimeout: 0 });
  }

  /** Resolves to the answer as text; rejects after 3 s. */
  async ask(endpoint: string, path: string, question: object, signal: AbortSignal): Promise<string> {
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
    const body = await this.#send(endpoint, path, question, { signal: inTime });
    return textOf(body, MAX_BYTES);
  }

  /** Yields the lines of an endless answer. */
  async *follow(
    endpoint: string,
    path: string,
    question: object,
    signal: AbortSignal,
  ): AsyncGenerator<string> {
    const body = await this.#send(endpoint, path, question, { signal, headersTimeout: 0 });
    yield* linesOf(body.setEncoding('utf8'));
  }

  /** Closes the connections once their answers have ended. */
  retire(): void {
    void this.#agent.close().catch(() => undefined);
  }

  close(): void {
    void this.#agent.destroy();
  }

  async #send(
    endpoint: string,
    path: string,
    question: object,
    options: Pick<Dispatcher.RequestOptions, 'signal' | 'headersTimeout'>,
  ): Promise<Readable> {
    const token = this.#tokenAt(endpoint);
    try {
      return await this.#post(endpoint, path, question, { ...options, token: await token });
    } catch (error) {
      const isOver = error instanceof EtcdRefusal && TOKEN_IS_OVER.test(error.message);
      if (!isOver || this.access?.user === undefined) throw error;
      if (this.#token === token) this.#token = undefined;
      return this.#post(endpoint, path, question, { ...options, token: await this.#tokenAt(endpoint) });
    }
  }

  /** Shares one token. A refusal is remembered for a while, since each attempt is expensive for etcd as well. */
  #tokenAt(endpoint: string): Promise<string | undefined> {
    if (this.#token !== undefined) return this.#token;
    const token = this.#authenticate(endpoint);
    this.#token = token;
    token.then(
      () => {
        this.#refusals = 0;
      },
      (error: unknown) => {
        const restMs = error instanceof EtcdRefusal ? backoffMs(this.#refusals++) : 0;
        setTimeout(() => {
          if (this.#token === token) this.#token = undefined;
        }, restMs).unref();
      },
    );
    return token;
  }

  async #authenticate(endpoint: string): Promise<string | undefined> {
    const { user, password } = this.access ?? {};
    if (user === undefined) return undefined;
    try {
      const signal = AbortSignal.timeout(ANSWER_MS);
      const body = await this.#post(endpoint, 'auth/authenticate', { name: user, password }, { signal });
      const { token } = JSON.parse(await textOf(body, MAX_BYTES)) as { readonly token?: unknown };
      if (typeof token === 'string') return token;
      throw new EtcdRefusal('it returned no token');
    } catch (error) {
      // The user may be configured here before authentication is enabled in etcd.
      if (error instanceof EtcdRefusal && error.message.includes('authentication is not enabled'))
        return undefined;
      throw error;
    }
  }

  async #post(
    endpoint: string,
    path: string,
    question: object,
    {
      token,
      ...options
    }: Pick<Dispatcher.RequestOptions, 'signal' | 'headersTimeout'> & { token?: string | undefined },
  ): Promise<Readable> {
    const { statusCode, body } = await request(`${endpoint}/v3/${path}`, {
      ...options,
      method: 'POST',
      body: JSON.stringify(question),
      headers: { ...FIELDS, ...(token !== undefined && { authorization: token }) },
      dispatcher: this.#agent,
    });
    if (statusCode === 200) return body;
    throw new EtcdRefusal(`it answered ${statusCode}${await this.#wordsOf(body)}`);
  }

  async #wordsOf(body: Readable): Promise<string> {
    const said = problemOf(await textOf(body, MAX_PROBLEM_BYTES).catch(() => ''));
    const { user } = this.access ?? {};
    const whom = user === undefined ? '' : ` (user ${user})`;
    return OWN_WORDS.test(said) ? `, ${said}${whom}` : whom;
  }
}

function connectorFor(access: Access | undefined): buildConnector.connector {
  const connect = buildConnector({ ...access?.tls, timeout: ANSWER_MS, allowH2: false });
  const servername = access?.tls?.servername;
  // undici passes the host of the address, whatever the connector was built with.
  return (options, callback) =>
    connect(servername === undefined ? options : { ...options, servername }, callback);
}

/**
 * Yields the complete lines, without blank ones; throws if a line is too long. Takes linear time: pieces of a line are
 * only concatenated, and split when a newline arrives.
 */
export async function* linesOf(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  for await (const piece of pieces) {
    rest += piece;
    if (rest.length > MAX_LINE_CHARACTERS) throw new Error('etcd sent a line that is too long');
    if (!piece.includes('\n')) continue;
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line !== '') yield line;
  }
}

async function textOf(body: Readable, mostBytes: number): Promise<string> {
  let text = '';
  for await (const piece of body.setEncoding('utf8')) {
    text += piece;
    if (text.length > mostBytes) throw new Error(`the answer is larger than ${mostBytes} bytes`);
  }
  return text;
}

/** Returns the gateway's JSON `error`, or the plain text of the HTTP server around it. */
function problemOf(text: string): string {
  try {
    return String((JSON.parse(text) as { readonly error?: unknown } | null)?.error);
  } catch {
    return text.trim();
  }
}
