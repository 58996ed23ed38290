/**
 * `@fastify/http-proxy`, a process of its own: `PORT NODE_PORT CERTIFICATES PACKAGES`. It stands for one row of the bench
 * and brings 48 packages, so it is no dependency: `PACKAGES` is a folder in which it was installed.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { serverTls } from './rival-tls.ts';

/** As much of fastify as is used here. */
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
