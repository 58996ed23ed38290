/** `http-proxy` behind node:https, run as a process. Arguments: `PORT NODE_PORT CERTIFICATES`. */
import { Agent } from 'node:http';
import { createServer } from 'node:https';
import httpProxy from 'http-proxy';
import { serverTls } from './rival-tls.ts';

const [port, nodePort, certificates = ''] = process.argv.slice(2);
const proxy = httpProxy.createProxyServer({
  target: `http://127.0.0.1:${nodePort}`,
  agent: new Agent({ keepAlive: true, maxSockets: 64 }),
});
proxy.on('error', (_error, _request, response) => response.destroy());
createServer(serverTls(certificates), (request, response) => proxy.web(request, response)).listen(
  Number(port),
  '127.0.0.1',
);
