/** Streams beside a fault: a download and an upload that outlast it and whose every byte is checked by a digest. */

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { Test } from 'tap';
import { HOST } from '../path/stage.ts';
import type { Door } from './fault-caller.ts';

const PIECE_BYTES = 24_000;
const PIECE_MS = 10;

/** A node whose downloads go on until they are told to end. */
export class WellNode {
  readonly address: string;
  #downloads: Flow[] = [];

  private constructor(address: string) {
    this.address = address;
  }

  static async start(t: Test): Promise<WellNode> {
    const server = createServer((incoming, response) => node.#answer(incoming, response));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    t.teardown(() => {
      server.close();
      server.closeAllConnections();
    });
    const node = new WellNode(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    return node;
  }

  /** Ends the downloads and returns the digests of what was sent. */
  endDownloads(): readonly string[] {
    return this.#downloads.splice(0).map((flow) => flow.end());
  }

  #answer(incoming: IncomingMessage, response: ServerResponse): void {
    if (incoming.method === 'GET') {
      this.#downloads.push(new Flow(response));
      return;
    }
    void digestOf(incoming).then((digest) => response.end(digest));
  }
}

/** Writes random pieces, one after the other, into whatever takes them. */
class Flow {
  readonly #to: Writable;
  readonly #hash = createHash('sha256');
  readonly #timer: NodeJS.Timeout;

  constructor(to: Writable) {
    this.#to = to;
    this.#timer = setInterval(() => this.#send(), PIECE_MS);
    to.on('close', () => clearInterval(this.#timer));
    this.#send();
  }

  /** The digest of everything sent. */
  end(): string {
    clearInterval(this.#timer);
    this.#to.end();
    return this.#hash.digest('hex');
  }

  #send(): void {
    if (this.#to.writableNeedDrain) return;
    const piece = randomBytes(PIECE_BYTES);
    this.#hash.update(piece);
    this.#to.write(piece);
  }
}

async function digestOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of stream) hash.update(piece);
  return hash.digest('hex');
}

export interface Bystanders {
  /** Ends both streams and resolves to whether both arrived bit for bit; rejects if one broke. */
  finish(): Promise<boolean>;
}

/** Resolves once both streams flow. */
export async function startBystanders(door: Door, node: WellNode): Promise<Bystanders> {
  const [down, up] = [begin(door, 'GET'), begin(door, 'PUT')];
  down.end();
  const upload = new Flow(up);
  const uploaded = once(up, 'response') as Promise<[IncomingMessage]>;
  uploaded.catch(() => undefined);
  const [response] = (await once(down, 'response')) as [IncomingMessage];
  const received = digestOf(response);
  received.catch(() => undefined);
  return {
    finish: async () => {
      const sent = upload.end();
      const [answer] = await uploaded;
      const arrived = await text(answer);
      const [expected] = node.endDownloads();
      return arrived === sent && (await received) === expected;
    },
  };
}

function begin({ port, ca, worker }: Door, method: string) {
  return request({
    agent: new Agent({ ca, cert: worker.certificatePem, key: worker.privateKeyPem, servername: HOST }),
    host: '127.0.0.1',
    port,
    method,
    path: '/well/x',
    headers: { host: HOST, ...(method === 'PUT' && { 'transfer-encoding': 'chunked' }) },
  });
}
