/** What is known about a connection and a request before the decision: plain data, no sockets. */

import type { Address } from './address.ts';
import type { DenialCode } from './denial.ts';

/** The client certificate, as checked in the handshake. */
export type CertificateFacts =
  | { readonly status: 'absent' }
  | { readonly status: 'refused'; readonly reason: string }
  | VerifiedCertificate;

/** A client certificate that chains to the server name's own client CA and is valid now. */
export interface VerifiedCertificate {
  readonly status: 'verified';
  /** Subject as OpenSSL prints it, on one line. */
  readonly subject: string;
  readonly dnsNames: readonly string[];
  readonly uris: readonly string[];
  readonly emails: readonly string[];
  /** Every CN of the subject. */
  readonly commonNames: readonly string[];
  /** The alternative names as OpenSSL prints them. */
  readonly alternativeNames: string;
  /** Lower-case hexadecimal without leading zeros. */
  readonly serialNumber: string;
  /** When it expires, milliseconds since the epoch. */
  readonly notAfterMs: number;
  /** When the first revocation list checked for it expires, if that refuses it; milliseconds since the epoch. */
  readonly listsDueMs?: number;
  /** SHA-256 of the DER encoding, base64url: the form of `cnf.x5t#S256` (RFC 8705 §3.1). */
  readonly thumbprint: string;
  /** The same digest in lower-case hexadecimal. */
  readonly fingerprint: string;
  /** The DER encoding in base64, for `Client-Cert` (RFC 9440 §2.1). */
  readonly der: string;
  /** The known authorities above it, without the root; DER in base64, for `Client-Cert-Chain`. */
  readonly chain: readonly string[];
}

/** What all requests of a connection have in common. */
export interface ConnectionFacts {
  /** Name of the listener, as in the policy. */
  readonly listener: string;
  /** Canonical server name of the ClientHello: lower case, no trailing dot. */
  readonly serverName: string;
  /** The other end of the TCP connection. */
  readonly peer: Address;
  readonly peerPort: number;
  /** The source address in the peer's PROXY header, if it sent one. */
  readonly proxied?: Address;
  readonly certificate: CertificateFacts;
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly tlsVersion: string;
  readonly tlsResumed: boolean;
}

/** How a body is delimited (RFC 9112 §6). `close` is for responses only. */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'close' };

/** The start of a request, known even if the rest of the head breaks the rules. */
export interface RequestLine {
  readonly method: string;
  /** As sent. */
  readonly target: string;
}

/** A request head that passed every rule of RFC 9112 and our own; names are as sent, values trimmed. */
export interface RequestHead {
  readonly method: string;
  /** Origin-form, query included; this is what goes upstream. As sent, less scheme and host of an absolute target. */
  readonly target: string;
  /** The part of `target` before `?`, never decoded. */
  readonly path: string;
  /** The path holds an encoded slash, which only some routes allow. */
  readonly encodedSlash: boolean;
  /** 0 for HTTP/1.0, 1 for HTTP/1.1. */
  readonly minor: 0 | 1;
  /** `Host` without its port, lower case, no trailing dot. */
  readonly host: string;
  /** `Host` as sent, port included; becomes `X-Forwarded-Host`. */
  readonly authority: string;
  /** Name, value, name, value …: every field line as sent, in order. */
  readonly fields: readonly string[];
  readonly framing: Framing;
  /** The connection may carry another request after this one. */
  readonly keepAlive: boolean;
  readonly expectsContinue: boolean;
}

/** The token of a hypothetical request. */
export type AssumedToken =
  /** Its claims; the signature is assumed to be valid. */
  | { readonly kind: 'claims'; readonly claims: Readonly<Record<string, unknown>> }
  /** Only the reason it was refused. */
  | { readonly kind: 'refused'; readonly code: DenialCode };

/** Everything `decide` looks at. */
export interface Facts {
  readonly connection: ConnectionFacts;
  readonly head: RequestHead;
  /** Wall clock in milliseconds since the epoch. */
  readonly nowMs: number;
  /** When the token is checked, if not at `nowMs`: a stream may outlive its token. */
  readonly tokenNowMs?: number;
  /** An admitted request is decided again: no keys are fetched for it, and a failure is not counted. */
  readonly again?: boolean;
  /** Replaces the token in the head; never set for a received request. */
  readonly assumedToken?: AssumedToken;
}
