/** The reference sync node: what an upstream of the gateway must do, over plain HTTP on a trusted network. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PatchFaultError } from '../patch/fault.ts';
import { ModelStore, WrongStreamError } from './model-store.ts';
import { problem, type Reply, send } from './reply.ts';
import { routes } from './routes.ts';

export interface SyncNodeOptions {
  /** Folder of the models; made where it is missing. */
  readonly root: string;
  readonly host?: string;
  /** 0 takes any free port. */
  readonly port?: number;
}

export interface SyncNode {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

/** Sweeps the folder, then listens. */
export async function startSyncNode({
  root,
  host = '127.0.0.1',
  port = 0,
}: SyncNodeOptions): Promise<SyncNode> {
  const store = new ModelStore(root);
  await store.sweep();
  // Uploads of weights take as long as they take: no bound on the whole of a request.
  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    void answer(store, request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  const name = host.includes(':') ? `[${host}]` : host;
  return { url: `http://${name}:${bound}`, host, port: bound, close: () => close(server) };
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

async function answer(store: ModelStore, request: IncomingMessage, response: ServerResponse): Promise<void> {
  request.on('error', () => undefined);
  const reply = await handle(store, request).catch(translate);
  if (reply !== undefined && !response.destroyed) send(request, response, reply);
}

async function handle(store: ModelStore, request: IncomingMessage): Promise<Reply | undefined> {
  const [path = ''] = (request.url ?? '').split('?');
  const fitting = routes.flatMap((route) => {
    const match = route.path.exec(path);
    return match === null ? [] : [{ route, params: match.groups ?? {} }];
  });
  if (fitting.length === 0) return problem(404, 'There is nothing at this path.');
  const found = fitting.find(({ route }) => route.methods.includes(request.method ?? ''));
  if (found === undefined) {
    const allow = fitting.flatMap(({ route }) => route.methods).join(', ');
    return problem(405, 'This path does not take the method.', {}, { Allow: allow });
  }
  return found.route.handle(store, request, found.params);
}

/** A fault of the patch is the sender's to mend; any other error is the node's own, and stays in it. */
function translate(error: unknown): Reply {
  if (error instanceof PatchFaultError) {
    const { rule, status, detail, frame, offset } = error.fault;
    return problem(status, detail, { fault: rule, frame, offset });
  }
  if (error instanceof WrongStreamError) return problem(400, error.message);
  return problem(500, 'The node failed.');
}
