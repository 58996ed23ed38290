/** A request that is told of and did not arrive: what a command line, a test or a line of the access log says of one. */

import type { Address } from '../core/address.ts';
import { type Denial, isDenial } from '../core/denial.ts';
import type { CertificateFacts, Facts, ToldToken } from '../core/facts.ts';
import { HeadReader } from '../http1/head-reader.ts';
import type { Llhttp } from '../http1/llhttp.ts';
import { headDenial, readRequest } from '../http1/request.ts';
import { certificateMode, listenerOf, matchServerName, type Policy } from '../policy/policy.ts';

export interface ToldRequest {
  /** Name of the listener in the policy. */
  readonly listener: string;
  /** Of the ClientHello. */
  readonly serverName: string;
  readonly peer: Address;
  readonly method: string;
  /** Path, perhaps with a query. */
  readonly target: string;
  /** Name, value, name, value …, without Host and Content-Length unless they are to be odd. */
  readonly fields: readonly string[];
  /** The value of the forwarding header the listener believes in. */
  readonly forwarded?: string;
  /** In place of the forwarding header: whom a trusted peer forwards for. */
  readonly client?: string;
  /** Bytes the head declares; absent for a request without a body. */
  readonly bodyBytes?: number;
  readonly certificate: CertificateFacts;
  /** In place of the `Authorization` among the fields. */
  readonly token?: ToldToken;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

/** The facts of it, its head read by the parser and the rules that heads from the wire meet; or how these refuse it. */
export function factsOf(policy: Policy, told: ToldRequest, llhttp: Llhttp): Facts | Denial {
  const head = readHead(policy, headText(policy, told), llhttp);
  if (isDenial(head)) return head;
  return {
    connection: {
      listener: told.listener,
      serverName: told.serverName,
      peer: told.peer,
      peerPort: 0,
      certificate: shownCertificate(policy, told),
      tlsVersion: 'TLSv1.3',
      tlsResumed: false,
    },
    head,
    nowMs: told.nowMs,
    ...(told.token !== undefined && { told: told.token }),
  };
}

/** Where the handshake asks for no certificate, none is shown, whatever the caller has. */
function shownCertificate(
  policy: Policy,
  { serverName, listener, certificate }: ToldRequest,
): CertificateFacts {
  const tenant = matchServerName(policy, serverName)?.tenant;
  const isAsked = tenant === undefined || certificateMode(policy, tenant, listener) !== 'none';
  return isAsked ? certificate : { status: 'absent' };
}

function headText(policy: Policy, told: ToldRequest): string {
  const { forwardedHeader } = listenerOf(policy, told.listener);
  const fields = [...told.fields];
  const names = new Set(fields.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase()));
  if (!names.has('host')) fields.unshift('Host', told.serverName);
  const forwarded = told.forwarded ?? (told.client && forwardedBy(forwardedHeader, told.client));
  if (forwarded !== undefined) fields.push(forwardedHeader, forwarded);
  if (told.bodyBytes !== undefined) fields.push('Content-Length', String(told.bodyBytes));
  const lines = fields.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${fields[at + 1] ?? ''}\r\n`] : []));
  return `${told.method} ${told.target} HTTP/1.1\r\n${lines.join('')}\r\n`;
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
  return headDenial({ kind: 'fault', rule: 'syntax', reason: 'The head has no end' });
}
