/** Field lines as a flat list, the fields with special treatment, and the fields forwarded in each direction. */

import type { RequestHead, VerifiedCertificate } from './facts.ts';

/** Makes a capital letter of ASCII a small one. */
const LOWER_CASE_BIT = 0x20;

/** The values of every line of one field, in order; `name` is lower case and begins with a letter. */
export function fieldValues(fields: readonly string[], name: string): string[] {
  const values: string[] = [];
  const first = name.charCodeAt(0);
  for (let i = 0; i < fields.length; i += 2) {
    const written = fields[i] ?? '';
    // Most names differ in length or in their first letter: lower case is made of the others only.
    if (written.length !== name.length || (written.charCodeAt(0) | LOWER_CASE_BIT) !== first) continue;
    if (written.toLowerCase() === name) values.push(fields[i + 1] ?? '');
  }
  return values;
}

/** The members of a comma-separated list field over all its lines, in lower case, without empty ones. */
export function listMembers(fields: readonly string[], name: string): string[] {
  const lines = fieldValues(fields, name);
  if (lines.length === 0) return [];
  const members = lines.join(',').toLowerCase().split(',');
  return members.map((member) => member.trim()).filter((member) => member !== '');
}

/** Fields that concern one connection only (RFC 9110 §7.6.1), or that each sender of a message sets itself. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'expect',
  'content-length',
]);

/**
 * Fields that say who is calling, or that some servers obey instead of the method, path or host that was decided on.
 * Those of a caller cannot be trusted and are removed.
 */
const OWNED: ReadonlySet<string> = new Set([
  'forwarded',
  'x-forwarded',
  'x-real-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'true-client-ip',
  'cf-connecting-ip',
  'fastly-client-ip',
  'x-request-id',
  'traceparent',
  'client-cert',
  'client-cert-chain',
  'remote-user',
  'x-remote-user',
  'x-original-url',
  'x-original-host',
  'x-rewrite-url',
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
]);
const OWNED_PREFIXES = [
  'x-forwarded-',
  'x-envoy-',
  'patchgate-',
  'x-client-cert',
  'x-ssl-client-',
  'ssl-client-',
];
const HOP_PREFIX = 'proxy-';

/** Fields that `Connection` must not name, because removing them would remove what the gateway relies on. */
const PROTECTED: ReadonlySet<string> = new Set([
  'host',
  'authorization',
  'content-type',
  'content-length',
  'transfer-encoding',
  'cookie',
  'upload-offset',
]);

/** What the gateway knows about the caller and sends to the node. */
export interface Provenance {
  readonly requestId: string;
  readonly traceparent: string;
  readonly client: string;
  readonly tenant: string;
  readonly subject?: string | undefined;
  readonly scope?: string | undefined;
  readonly model?: string | undefined;
  readonly certificate?: VerifiedCertificate | undefined;
  /** Whether the authorities above the certificate are sent to the node. */
  readonly forwardCertificateChain: boolean;
  /** Whether `Authorization` is forwarded to the node. */
  readonly forwardAuthorization: boolean;
}

/** A member of `Connection` that must not be there, if any; such a request is refused with 400 (CVE-2024-45410). */
export function protectedOption(options: readonly string[]): string | undefined {
  return options.find((name) => PROTECTED.has(name) || isOwned(name));
}

/**
 * The field lines of the request to the node, each ending in CRLF, without framing: those of the caller, except
 * hop-by-hop fields, owned fields and those in `dropped` (what `Connection` names), then those of the gateway. `Host`
 * stays as sent. The fields must be free of control bytes.
 */
export function upstreamFields(head: RequestHead, dropped: readonly string[], known: Provenance): string {
  let text = '';
  const { fields } = head;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? '';
    const lower = name.toLowerCase();
    if (endsHere(lower, dropped) || isOwned(lower)) continue;
    if (lower === 'authorization' && !known.forwardAuthorization) continue;
    text += `${name}: ${fields[i + 1]}\r\n`;
  }
  return text + provenanceFields(head, known);
}

/** The field lines of the response to the caller, each ending in CRLF, without framing and those in `dropped`. */
export function downstreamFields(fields: readonly string[], dropped: readonly string[]): string {
  let text = '';
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? '';
    if (!endsHere(name.toLowerCase(), dropped)) text += `${name}: ${fields[i + 1]}\r\n`;
  }
  return text;
}

function endsHere(name: string, dropped: readonly string[]): boolean {
  return HOP_BY_HOP.has(name) || name.startsWith(HOP_PREFIX) || dropped.includes(name);
}

/** Whether only the gateway may write the field; `name` is lower case. */
export function isOwned(name: string): boolean {
  return OWNED.has(name) || OWNED_PREFIXES.some((prefix) => name.startsWith(prefix));
}

function provenanceFields(head: RequestHead, known: Provenance): string {
  const { client, certificate } = known;
  let text =
    `X-Forwarded-For: ${client}\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: ${head.authority}\r\n` +
    `Forwarded: for=${client.includes(':') ? `"[${client}]"` : client};host="${head.authority}";proto=https\r\n` +
    `X-Real-IP: ${client}\r\nX-Request-Id: ${known.requestId}\r\ntraceparent: ${known.traceparent}\r\n` +
    `Patchgate-Tenant: ${known.tenant}\r\nPatchgate-Client: ${client}\r\n`;
  if (known.subject !== undefined) text += `Patchgate-Subject: ${visible(known.subject)}\r\n`;
  if (known.scope !== undefined) text += `Patchgate-Scope: ${known.scope}\r\n`;
  if (known.model !== undefined) text += `Patchgate-Model: ${known.model}\r\n`;
  // RFC 9440 §2.1: a byte sequence of structured fields, base64 between colons.
  if (certificate !== undefined) text += `Client-Cert: :${certificate.der}:\r\n`;
  if (known.forwardCertificateChain && certificate !== undefined && certificate.chain.length > 0) {
    text += `Client-Cert-Chain: ${certificate.chain.map((der) => `:${der}:`).join(', ')}\r\n`;
  }
  return text;
}

/**
 * A claim may be any text. One that is not plain ASCII is percent-encoded, and so is one with `%`, so that different
 * claims never look alike and a line stays one line. The text must be well-formed UTF-16.
 */
function visible(text: string): string {
  return /^[!-$&-~]+$/.test(text) ? text : encodeURIComponent(text);
}
