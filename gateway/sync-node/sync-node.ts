/** The reference sync node: what an upstream of the gateway must do, over plain HTTP on a trusted network. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ModelStore } from './model-store.ts';
import type { NodeParts } from './node-route.ts';
import { problem, type Reply, send } from './reply.ts';
import { routes } from './routes.ts';
import { Uploads } from './uploads.ts';

export interface SyncNodeOptions {
  /** Folder of the models; created if it is missing. */
  readonly root: string;
  readonly host?: string;
  /** 0 takes any free port. */
  readonly port?: number;
  /** The number of latest versions of a model to keep in addition to the published ones; at least 1. */
  readonly keep?: number;
}

const DEFAULT_KEEP = 3;

export interface SyncNode {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Closes all connections; resolves once nothing received over them is still being written. */
  close(): Promise<void>;
}

/** Sweeps the folder, then listens. */
export async function startSyncNode({
  root,
  host = '127.0.0.1',
  port = 0,
  keep = DEFAULT_KEEP,
}: SyncNodeOptions): Promise<SyncNode> {
  const parts = { store: new ModelStore(root, keep), uploads: new Uploads() };
  await sweep(parts);
  // An upload of weights may take any time, so a request has no timeout as a whole.
  const running = new Set<Promise<void>>();
  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    const answered = answer(parts, request, response).finally(() => running.delete(answered));
    running.add(answered);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  const name = host.includes(':') ? `[${host}]` : host;
  return { url: `http://${name}:${bound}`, host, port: bound, close: () => close(server, running) };
}

async function close(server: Server, running: ReadonlySet<Promise<void>>): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
  await Promise.all(running);
}

async function sweep({ store, uploads }: NodeParts): Promise<void> {
  for (const modelId of await store.sweep()) {
    const streams = (await store.state(modelId))?.streams ?? {};
    await uploads.tidy(store.uploadsFolder(modelId), (id) => Object.hasOwn(streams, id), Date.now());
  }
}

async function answer(parts: NodeParts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  request.on('error', () => undefined);
  const reply = await handle(parts, request).catch(translate);
  if (reply !== undefined) send(request, response, reply);
}

async function handle(parts: NodeParts, request: IncomingMessage): Promise<Reply | undefined> {
  const [path = ''] = (request.url ?? '').split('?');
  const fitting = routes.flatMap((route) => {
    const match = route.path.exec(path);
    return match === null ? [] : [{ route, params: match.groups ?? {} }];
  });
  if (fitting.length === 0) return problem(404, 'Nothing is served at this path.');
  const found = fitting.find(({ route }) => route.methods.includes(request.method ?? ''));
  if (found === undefined) {
    const allow = fitting.flatMap(({ route }) => route.methods).join(', ');
    return problem(405, 'This path does not support the method.', {}, { Allow: allow });
  }
  return found.route.handle(parts, request, found.params);
}

/** Error codes of a full disk, quota or file size limit; answered with 507 (RFC 4918 §11.5). */
const NO_ROOM: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Hides the node's own errors from the caller, except that it has no room. */
function translate(error: unknown): Reply {
  return NO_ROOM.has(codeOf(error))
    ? problem(507, 'The node has no room for this; the model is unchanged.')
    : problem(500, 'The node failed.');
}

function codeOf(error: unknown): unknown {
  if (!(error instanceof Error)) return undefined;
  return 'code' in error ? error.code : codeOf(error.cause);
}
