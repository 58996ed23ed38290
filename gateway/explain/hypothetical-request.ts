/** A request that did not arrive but is described by a command line, a test file or a line of the access log. */

import type { Address } from '../core/address.ts';
import { type Denial, isDenial } from '../core/denial.ts';
import type { AssumedToken, CertificateFacts, Facts } from '../core/facts.ts';
import { HeadReader } from '../http1/head-reader.ts';
import type { Llhttp } from '../http1/llhttp.ts';
import { headDenial, readRequest } from '../http1/request.ts';
import { certificateMode, listenerOf, matchServerName, type Policy } from '../policy/policy.ts';

export interface HypotheticalRequest {
  /** Name of the listener in the policy. */
  readonly listener: string;
  /** Server name in the ClientHello. */
  readonly serverName: string;
  readonly peer: Address;
  readonly method: string;
  /** Path with an optional query. */
  readonly target: string;
  /** Name, value, name, value …. `Host` defaults to `serverName`; `Content-Length` is added from `bodyBytes`. */
  readonly fields: readonly string[];
  /** Value of the forwarding header that the listener reads. */
  readonly forwarded?: string;
  /** Client address that the peer forwards for; used if `forwarded` is absent. */
  readonly client?: string;
  /** Body length that the head declares; absent for a request without a body. */
  readonly bodyBytes?: number;
  readonly certificate: CertificateFacts;
  /** Used instead of an `Authorization` field. */
  readonly token?: AssumedToken;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

/** Returns the facts of the request, or the denial of its head, which is parsed and checked like one from the wire. */
export function factsOf(policy: Policy, request: HypotheticalRequest, llhttp: Llhttp): Facts | Denial {
  const head = readHead(policy, headText(policy, request), llhttp);
  if (isDenial(head)) return head;
  return {
    connection: {
      listener: request.listener,
      serverName: request.serverName,
      peer: request.peer,
      peerPort: 0,
      certificate: shownCertificate(policy, request),
      tlsVersion: 'TLSv1.3',
      tlsResumed: false,
    },
    head,
    nowMs: request.nowMs,
    ...(request.token !== undefined && { assumedToken: request.token }),
  };
}

/** Returns the certificate, or an absent one if the handshake does not request any. */
function shownCertificate(
  policy: Policy,
  { serverName, listener, certificate }: HypotheticalRequest,
): CertificateFacts {
  const tenant = matchServerName(policy, serverName)?.tenant;
  const isAsked = tenant === undefined || certificateMode(policy, tenant, listener) !== 'none';
  return isAsked ? certificate : { status: 'absent' };
}

function headText(policy: Policy, request: HypotheticalRequest): string {
  const { forwardedHeader } = listenerOf(policy, request.listener);
  const fields = [...request.fields];
  const names = new Set(fields.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase()));
  if (!names.has('host')) fields.unshift('Host', request.serverName);
  const forwarded = request.forwarded ?? (request.client && forwardedBy(forwardedHeader, request.client));
  if (forwarded !== undefined) fields.push(forwardedHeader, forwarded);
  if (request.bodyBytes !== undefined) fields.push('Content-Length', String(request.bodyBytes));
  const lines = fields.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${fields[at + 1] ?? ''}\r\n`] : []));
  return `${request.method} ${request.target} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

function forwardedBy(header: 'x-forwarded-for' | 'forwarded', client: string): string {
  if (header === 'x-forwarded-for') return client;
  return client.includes(':') ? `for="[${client}]"` : `for=${client}`;
}

function readHead(policy: Policy, text: string, llhttp: Llhttp): Facts['head'] | Denial {
  const reader = new HeadReader(llhttp, 'request', policy.gateway.limits);
  const progress = reader.read(Buffer.from(text), 0);
  reader.close();
  if (progress.kind === 'head') return readRequest(progress.head);
  if (progress.kind === 'fault') return headDenial(progress);
  return headDenial({ kind: 'fault', rule: 'syntax', reason: 'The head is incomplete' });
}
