/** `http-proxy` for WebSocket, configured as its documentation says, with the error handlers. Prints its port. */

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import httpProxy from 'http-proxy';

const proxy = httpProxy.createProxyServer({ target: `http://127.0.0.1:${process.argv[2]}` });
proxy.on('error', () => undefined);
const server = createServer();
server.on('upgrade', (request, socket, head) => {
  socket.on('error', () => undefined);
  proxy.ws(request, socket, head);
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
