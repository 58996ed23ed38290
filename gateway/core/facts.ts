/** What is known of a connection and of a request before anything is decided: plain data, no sockets. */

import type { Address } from './address.ts';
import type { DenialCode } from './denial.ts';

/** A client certificate as the handshake left it. */
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
  /** When a revocation list it was looked up in is past its time, where that refuses it; milliseconds since the epoch. */
  readonly listsDueMs?: number;
  /** SHA-256 of the DER encoding, base64url: the form of `cnf.x5t#S256` (RFC 8705 §3.1). */
  readonly thumbprint: string;
  /** The same in lower-case hexadecimal. */
  readonly fingerprint: string;
  /** The DER encoding in base64, for `Client-Cert` (RFC 9440 §2.1). */
  readonly der: string;
  /** The authorities above it as far as they are known, the root left out; DER in base64, for `Client-Cert-Chain`. */
  readonly chain: readonly string[];
}

/** What one connection brings to every request on it. */
export interface ConnectionFacts {
  /** Name of the listener, as in the policy. */
  readonly listener: string;
  /** Canonical server name of the ClientHello: lower case, no trailing dot. */
  readonly serverName: string;
  /** The other end of the TCP connection. */
  readonly peer: Address;
  readonly peerPort: number;
  /** Whom the peer accepted the connection from, by its PROXY header. */
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

/** How a request begins: known also of a head that breaks the rules for what follows. */
export interface RequestLine {
  readonly method: string;
  /** As sent. */
  readonly target: string;
}

/** A request head that passed every rule of RFC 9112 and our own; names are as sent, values trimmed. */
export interface RequestHead {
  readonly method: string;
  /** Origin-form exactly as sent, query included; this is what goes upstream. */
  readonly target: string;
  /** The part of `target` before `?`, never decoded. */
  readonly path: string;
  /** The path holds an encoded slash, which only some routes allow. */
  readonly encodedSlash: boolean;
  /** 0 for HTTP/1.0, 1 for HTTP/1.1. */
  readonly minor: 0 | 1;
  /** `Host` without its port, lower case, no trailing dot. */
  readonly host: string;
  /** `Host` as sent, port included: what `X-Forwarded-Host` says. */
  readonly authority: string;
  /** Name, value, name, value …: every field line as sent, in order. */
  readonly fields: readonly string[];
  readonly framing: Framing;
  /** The connection may carry another request after this one. */
  readonly keepAlive: boolean;
  readonly expectsContinue: boolean;
}

/** What is known of the token of a request that is told of and did not arrive. */
export type AssumedToken =
  /** Its claims; that its signature holds is taken for granted. */
  | { readonly kind: 'claims'; readonly claims: Readonly<Record<string, unknown>> }
  /** Only why it was refused. */
  | { readonly kind: 'refused'; readonly code: DenialCode };

/** Everything `decide` looks at. */
export interface Facts {
  readonly connection: ConnectionFacts;
  readonly head: RequestHead;
  /** Wall clock in milliseconds since the epoch. */
  readonly nowMs: number;
  /** The moment the token is judged at, where that is not now: a stream may outlive its token. */
  readonly tokenNowMs?: number;
  /** A request that was admitted is decided again: nothing is fetched for it, and it is nobody's attempt. */
  readonly again?: boolean;
  /** In place of the token of the head; never on a request that arrived. */
  readonly assumedToken?: AssumedToken;
}
