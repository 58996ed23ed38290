/** Configuration of nginx: mutual TLS and unbuffered streams, in one process. */

import { join } from 'node:path';
import { HOST } from './names.ts';

export interface NginxOptions {
  readonly folder: string;
  readonly port: number;
  readonly nodePort: number;
}

export function nginxConfig({ folder, port, nodePort }: NginxOptions): string {
  const certificates = join(folder, 'certs', HOST);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `  ${name}_temp_path ${join(folder, `nginx-${name}`)};`)
    .join('\n');
  return `daemon off;
master_process off;
worker_processes 1;
pid ${join(folder, 'nginx.pid')};
error_log stderr error;
events { worker_connections 4000; }
http {
${temporary}
  access_log ${join(folder, 'nginx.log')};
  client_max_body_size 0;
  keepalive_requests 1000000;
  upstream nodes {
    server 127.0.0.1:${nodePort};
    keepalive 64;
    keepalive_requests 1000000;
  }
  server {
    listen 127.0.0.1:${port} ssl;
    server_name ${HOST};
    ssl_certificate ${join(certificates, 'chain.pem')};
    ssl_certificate_key ${join(certificates, 'key.pem')};
    ssl_client_certificate ${join(certificates, 'clients.pem')};
    ssl_verify_client on;
    ssl_protocols TLSv1.3;
    location / {
      proxy_pass http://nodes;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_request_buffering off;
      proxy_buffering off;
    }
  }
}
`;
}
