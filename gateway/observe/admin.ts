/** The admin listener: metrics, probes, certificates, policy and reload, nodes and their draining. */

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { isIP } from 'node:net';
import { bind, bindShared } from '../net/bind.ts';
import type { MetricsText } from './metrics.ts';

/** An `import` would load much more: see http1/reason-phrases.ts. */
const { createServer }: typeof import('node:http') = createRequire(import.meta.url)('node:http');

export interface AdminOptions {
  readonly address: { readonly host: string; readonly port: number };
  readonly metricsText: (accept?: string) => Promise<MetricsText>;
  /** Generation, digest, tenants and current faults; sent as JSON. */
  readonly policyStatus: () => object;
  /** The server names in use and their certificates; sent as JSON. */
  readonly certificates: () => readonly object[];
  /** All upstreams and their nodes; sent as JSON. */
  readonly nodes: () => Promise<readonly object[]>;
  /** Drains a node, which then gets no new requests, or resumes it. Resolves to false if there is no such node. */
  readonly setDrained: (upstream: string, node: string, drained: boolean) => Promise<boolean>;
  /** False while draining, while a worker is missing or silent, and until the tenants in etcd have been read. */
  readonly ready: () => boolean;
  /** Reloads and resolves to the outcome; sent as JSON. */
  readonly reload: () => Promise<object>;
}

export interface Admin {
  /** Resolves to the bound address; rejects if binding fails. */
  listen(): Promise<{ readonly host: string; readonly port: number }>;
  /**
   * Leaves the address to another process bound to it, such as one that takes over; without one, keeps listening. Never
   * rejects.
   */
  yield(): Promise<void>;
  /** Stops at once. */
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly contentType: string;
  readonly allow?: string;
}

type Handler = (request: IncomingMessage, options: AdminOptions) => Answer | Promise<Answer>;

interface Page {
  readonly method: 'GET' | 'POST';
  readonly answer: Handler;
}

const pages: ReadonlyMap<string, Page> = new Map<string, Page>([
  ['/metrics', { method: 'GET', answer: answerMetrics }],
  ['/livez', { method: 'GET', answer: () => json(200, { status: 'live' }) }],
  ['/readyz', { method: 'GET', answer: (_request, { ready }) => readiness(ready()) }],
  ['/policy', { method: 'GET', answer: (_request, { policyStatus }) => json(200, policyStatus()) }],
  ['/certificates', { method: 'GET', answer: (_request, { certificates }) => json(200, certificates()) }],
  ['/reload', { method: 'POST', answer: changes(answerReload) }],
  ['/nodes', { method: 'GET', answer: async (_request, { nodes }) => json(200, await nodes()) }],
  ['/nodes/drain', { method: 'POST', answer: changes(drainAnswer(true)) }],
  ['/nodes/resume', { method: 'POST', answer: changes(drainAnswer(false)) }],
]);

/** Creates the server for operators and scrapers. It has no authentication, so it belongs on loopback. */
export function createAdmin(options: AdminOptions): Admin {
  const server = createServer(
    { maxHeaderSize: 8192, headersTimeout: 5000, requestTimeout: 10_000, keepAliveTimeout: 30_000 },
    (request, response) => {
      // No page reads a body.
      request.resume();
      answer(request, options).then(
        (made) => send(request, response, made),
        () => send(request, response, json(500, { error: 'internal error' })),
      );
    },
  );
  server.maxConnections = 64;
  server.on('error', () => undefined);
  return {
    listen: () => listen(server, options.address),
    yield: () => yieldAddress(server),
    close: () => close(server),
  };
}

async function answer(request: IncomingMessage, options: AdminOptions): Promise<Answer> {
  if (isLoopback(options.address.host) && !isLoopback(hostOf(request)))
    return json(403, { error: 'host not allowed' });
  const [path = ''] = (request.url ?? '').split('?');
  const page = pages.get(path);
  if (page === undefined) return json(404, { error: 'not found' });
  const isRead = page.method === 'GET' && (request.method === 'GET' || request.method === 'HEAD');
  if (!isRead && request.method !== page.method) {
    return {
      ...json(405, { error: 'method not allowed' }),
      allow: page.method === 'GET' ? 'GET, HEAD' : 'POST',
    };
  }
  return page.answer(request, options);
}

async function answerMetrics(request: IncomingMessage, options: AdminOptions): Promise<Answer> {
  const { contentType, body } = await options.metricsText(request.headers.accept);
  return { status: 200, contentType, body };
}

/** Refuses requests with `Origin`: browsers send it with a POST, and no page may post here (request forgery). */
function changes(answer: Handler): Handler {
  return (request, options) =>
    request.headers.origin === undefined
      ? answer(request, options)
      : json(403, { error: 'origin not allowed' });
}

async function answerReload(_request: IncomingMessage, options: AdminOptions): Promise<Answer> {
  return json(200, await options.reload());
}

function drainAnswer(drained: boolean): Handler {
  return async ({ url = '' }, options) => {
    const query = new URLSearchParams(url.slice(url.indexOf('?') + 1));
    const [upstream, node] = [query.get('upstream'), query.get('node')];
    if (upstream === null || node === null)
      return json(400, { error: 'upstream and node are required, as listed by /nodes' });
    if (!(await options.setDrained(upstream, node, drained))) return json(404, { error: 'no such node' });
    return json(200, { upstream, node, drained });
  };
}

function readiness(isReady: boolean): Answer {
  return json(isReady ? 200 : 503, { status: isReady ? 'ready' : 'not ready' });
}

function json(status: number, body: object): Answer {
  return { status, body: `${JSON.stringify(body)}\n`, contentType: 'application/json' };
}

function send(request: IncomingMessage, response: ServerResponse, made: Answer): void {
  response.on('error', () => undefined);
  response.writeHead(made.status, {
    'Content-Type': made.contentType,
    'Content-Length': Buffer.byteLength(made.body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...(made.allow !== undefined && { Allow: made.allow }),
  });
  response.end(request.method === 'HEAD' ? undefined : made.body);
}

/** Returns `Host` without port and brackets; empty if it is missing or malformed. */
function hostOf(request: IncomingMessage): string {
  const [, bracketed, plain] =
    /^(?:\[([^\]]*)\]|([^:]*))(?::[0-9]+)?$/.exec(request.headers.host ?? '') ?? [];
  return bracketed ?? plain ?? '';
}

/** Whether a name is safe from DNS rebinding: a site can point its own name here, but cannot take one of these. */
function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  if (name === 'localhost' || name === '::1') return true;
  return isIP(name) === 4 && name.startsWith('127.');
}

async function listen(
  server: Server,
  address: AdminOptions['address'],
): Promise<{ readonly host: string; readonly port: number }> {
  await bindShared(server, address, address);
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('the admin listener has no address');
  return { host: bound.address, port: bound.port };
}

/**
 * Closes the address and tries to bind it exclusively. This succeeds only if no other process is bound to it; then the
 * address is bound shared again, for a later one.
 */
async function yieldAddress(server: Server): Promise<void> {
  const bound = server.address();
  if (bound === null || typeof bound === 'string') return;
  const address = { host: bound.address, port: bound.port };
  try {
    server.close();
    await bind(server, address);
    server.close();
    await bindShared(server, address, address);
  } catch {
    // Another process has the address and answers.
  }
}

async function close(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
