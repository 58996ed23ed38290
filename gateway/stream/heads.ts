/** The heads the gateway writes itself: the request to the node and its own answers. */

import type { RequestHead } from '../core/facts.ts';
import { fieldValues, listMembers, upstreamFields } from '../core/headers.ts';
import type { Admission } from '../decide.ts';
import { reasonPhrase } from '../http1/reason-phrases.ts';
import type { Route } from '../policy/policy.ts';
import type { Refusal } from '../refuse.ts';
import { CRLF, requestFraming } from './framing.ts';
import type { Traces } from './trace.ts';

export const CONTINUE_TEXT = `HTTP/1.1 100 Continue${CRLF}${CRLF}`;

/** The request head for the node: the target unchanged, the fields cleaned, exactly one framing. */
export function upstreamText(
  head: RequestHead,
  admission: Admission,
  requestId: string,
  traces: Traces,
): string {
  const { token, params, route, certificate, shadowed } = admission;
  const fields = upstreamFields(head, admission.connectionOptions, {
    requestId,
    traceparent: traces.continue(fieldValues(head.fields, 'traceparent')),
    client: admission.client.address.text,
    tenant: admission.tenant.name,
    forwardAuthorization: route.forwardAuthorization,
    forwardCertificateChain: route.forwardCertificateChain,
    subject: token?.subject,
    // In shadow, a request that would be refused was not granted the scope.
    scope: shadowed === undefined ? route.require?.scope : undefined,
    model: params['model_id'],
    certificate,
  });
  return (
    `${head.method} ${head.target} HTTP/1.1${CRLF}${fields}${requestFraming(head.framing, head.method)}` +
    connectionLines(head, route) +
    CRLF
  );
}

/** Hop-by-hop fields for the node, if the route asks for them: a protocol switch, trailers. */
function connectionLines({ fields, framing }: RequestHead, { upgrade, stream }: Route): string {
  if (upgrade !== undefined) return `Connection: Upgrade${CRLF}Upgrade: ${upgrade.protocol}${CRLF}`;
  if (stream?.trailers === undefined) return '';
  const takes = listMembers(fields, 'te').includes('trailers');
  return (
    (framing.kind === 'chunked' ? trailerLine(fields, stream.trailers) : '') +
    (takes ? `TE: trailers${CRLF}Connection: TE${CRLF}` : '')
  );
}

/** A `Trailer` line with the announced names that will be forwarded (RFC 9110 §6.6.2); empty if there are none. */
export function trailerLine(fields: readonly string[], asked: ReadonlySet<string>): string {
  const announced = listMembers(fields, 'trailer').filter((name) => asked.has(name));
  return announced.length === 0 ? '' : `Trailer: ${announced.join(', ')}${CRLF}`;
}

/** The 101 head for the caller. `more` are further field lines, each ending in CRLF. */
export function switchText(keptLines: string, protocol: string, more: string): string {
  return `HTTP/1.1 101 Switching Protocols${CRLF}${keptLines}${more}Connection: Upgrade${CRLF}Upgrade: ${protocol}${CRLF}${CRLF}`;
}

/** The whole answer of a refusal, without the body for HEAD. `more` are further field lines, each ending in CRLF. */
export function refusalText(
  refusal: Refusal,
  head: RequestHead | undefined,
  mayReuse: boolean,
  more = '',
): string {
  const { status, fields, body } = refusal;
  let text = `HTTP/1.1 ${status} ${reasonPhrase(status)}${CRLF}`;
  for (let i = 0; i < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}${CRLF}`;
  text += `${more}Date: ${new Date().toUTCString()}${CRLF}Content-Length: ${body.length}${CRLF}`;
  if (!mayReuse) text += `Connection: close${CRLF}`;
  else if (head?.minor === 0) text += `Connection: keep-alive${CRLF}`;
  return text + CRLF + (head?.method === 'HEAD' ? '' : body.toString('latin1'));
}
