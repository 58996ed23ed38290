/** Configuration of HAProxy for the same work, on one thread. */

import { join } from 'node:path';
import { AUDIENCE, HOST, ISSUER } from './names.ts';

export interface HaproxyOptions {
  readonly folder: string;
  readonly port: number;
  readonly nodePort: number;
  /** Whether to check addresses and tokens in addition to mutual TLS. */
  readonly policy: boolean;
}

/**
 * With `policy`: the token's signature (ES256), issuer, audience, expiry and scope, and the same address list. Always:
 * one log line per request.
 */
export function haproxyConfig({ folder, port, nodePort, policy }: HaproxyOptions): string {
  return `global
  nbthread 1
  maxconn 12000
  no strict-limits
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option http-keep-alive
  http-reuse always
  timeout client 600s
  timeout server 60s
  timeout connect 5s
frontend edge
  bind 127.0.0.1:${port} ssl crt ${join(folder, 'both.pem')} ca-file ${join(folder, 'certs', HOST, 'clients.pem')} verify required ssl-min-ver TLSv1.3 alpn http/1.1
${policy ? policyRules(folder) : ''}  default_backend nodes
backend nodes
  server node 127.0.0.1:${nodePort}
`;
}

function policyRules(folder: string): string {
  return `  acl client_allowed src -f ${join(folder, 'clients.cidr')}
  http-request deny deny_status 403 unless client_allowed
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request deny deny_status 401 unless { var(txn.alg) -m str ES256 }
  http-request deny deny_status 401 unless { var(txn.bearer),jwt_verify(txn.alg,"${join(folder, 'token.pem')}") 1 }
  http-request deny deny_status 401 unless { var(txn.bearer),jwt_payload_query('$.iss') -m str ${ISSUER} }
  http-request deny deny_status 401 unless { var(txn.bearer),jwt_payload_query('$.aud') -m str ${AUDIENCE} }
  http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 if { var(txn.exp),sub(txn.now) -m int lt 0 }
  http-request deny deny_status 403 unless { var(txn.bearer),jwt_payload_query('$.scope') -m sub read }
  http-request del-header authorization
`;
}
