/** Node's own TLS alone, run as a process: answers 200 to any data. Arguments: `PORT CERTIFICATES`. */
import { createServer } from 'node:tls';
import { serverTls } from './rival-tls.ts';

const [port, certificates = ''] = process.argv.slice(2);
createServer(serverTls(certificates), (socket) => {
  socket.on('error', () => undefined);
  socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
}).listen(Number(port), '127.0.0.1');
