/** What tests of upstreams share: nodes that name themselves, one request after the other, and what is reported. */

import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import { exchange, HOST, isWhole, type RawNode, rawNode, type Stage, sleep } from './stage.ts';

/** A whole response of that status, with the name in `X-Node`. */
export function response(name: string, status = 200): string {
  return `HTTP/1.1 ${status} Told\r\nX-Node: ${name}\r\nContent-Length: 2\r\n\r\nok`;
}

export interface NamedNode extends RawNode {
  /** The answer to each request; undefined leaves it waiting. */
  answer: (socket: Socket) => string | undefined;
  /** Requests so far, without health checks. */
  readonly requests: () => number;
}

/** A node that answers each head at once, and `/healthz` by `health`. */
export async function namedNode(t: Test, name: string, health: () => number = () => 200): Promise<NamedNode> {
  let requests = 0;
  const node = await rawNode(t, (socket, text) => {
    if (!text.endsWith('\r\n\r\n')) return;
    if (text.startsWith('GET /healthz ')) {
      socket.write(response(name, health()));
      return;
    }
    requests += 1;
    const answer = named.answer(socket);
    if (answer !== undefined) socket.write(answer);
  });
  const named: NamedNode = { ...node, answer: () => response(name), requests: () => requests };
  return named;
}

/** Sends a request without a body on the connection and returns the whole answer. */
export function ask(socket: TLSSocket, path = '/open/x', method = 'GET'): Promise<string> {
  return exchange(socket, `${method} ${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, isWhole);
}

/** The same on a connection of its own. */
export async function askAlone(stage: Stage, path?: string, method?: string): Promise<string> {
  const socket = await stage.connect();
  const answer = await ask(socket, path, method);
  socket.destroy();
  return answer;
}

/** The node that answered, or the status and code of the refusal. */
export function whoAnswered(answer: string): string {
  const [, node] = /^X-Node: (.*)\r$/m.exec(answer) ?? [];
  const [, code = ''] = /"code":"([a-z-]+)"/.exec(answer) ?? [];
  return node ?? `${answer.slice(9, 12)} ${code}`.trim();
}

/** Who answered that many requests, one after the other. */
export async function askTimes(stage: Stage, times: number, path?: string): Promise<readonly string[]> {
  const socket = await stage.connect();
  // Each exchange adds new listeners.
  socket.setMaxListeners(0);
  const found: string[] = [];
  for (let turn = 0; turn < times; turn++) found.push(whoAnswered(await ask(socket, path)));
  socket.destroy();
  return found;
}

/** The value of a metric of the node at that address. */
export async function gaugeOf(stage: Stage, metric: string, node: RawNode | string): Promise<number> {
  const url = typeof node === 'string' ? node : `http://${node.address}`;
  const text = await (await fetch(`${stage.admin}/metrics`)).text();
  const line = text
    .split('\n')
    .find((each) => each.startsWith(`${metric}{upstream="tenant-a/sync",node="${url}"}`));
  return Number(line?.split(' ').at(-1) ?? Number.NaN);
}

/** Waits until what is asked holds. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let turn = 0; turn < 1000; turn++) {
    if (await holds()) return;
    await sleep(10);
  }
  throw new Error('it never came to be');
}
