/** The policy's TLS settings for connections to other servers: whom to trust, what to present. */

/** Files are absolute paths of PEM files, read when first needed and again when they change. */
export interface ClientTls {
  /** Authorities for the servers' certificates; absent means the public ones. */
  readonly ca?: string;
  /** The chain the gateway presents, and its key; both or neither. */
  readonly cert?: string;
  readonly key?: string;
  /** The name to send (SNI) and to require in the certificate, instead of the server's host. */
  readonly serverName?: string;
  readonly minTlsVersion: 'TLSv1.2' | 'TLSv1.3';
}
