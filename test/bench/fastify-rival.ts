/**
 * `@fastify/http-proxy`, run as a process. Arguments: `PORT NODE_PORT CERTIFICATES PACKAGES`. It is not a dependency,
 * since it would add 48 packages for one rival; `PACKAGES` is a folder in which it is installed.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { serverTls } from './rival-tls.ts';

/** The part of fastify's interface that is used here. */
interface Fastify {
  register(plugin: unknown, options: object): void;
  listen(options: { readonly port: number; readonly host: string }): Promise<string>;
}

const [port, nodePort, certificates = '', packages = ''] = process.argv.slice(2);
const require = createRequire(join(packages, 'package.json'));
const fastify: (options: object) => Fastify = require('fastify');
const server = fastify({ https: serverTls(certificates), bodyLimit: Number.MAX_SAFE_INTEGER });
server.register(require('@fastify/http-proxy'), { upstream: `http://127.0.0.1:${nodePort}` });
await server.listen({ port: Number(port), host: '127.0.0.1' });
