/** TLS towards another server as the policy says it: whom to trust, what to show. */

/** Files are absolute paths to PEM, read when first needed and again when they change. */
export interface ClientTls {
  /** Authorities of the servers' certificates; absent means the public ones. */
  readonly ca?: string;
  /** The chain the gateway shows, and its key; both or neither. */
  readonly cert?: string;
  readonly key?: string;
  /** The name asked for and looked for in the certificate, in place of the server's host. */
  readonly serverName?: string;
  readonly minTlsVersion: 'TLSv1.2' | 'TLSv1.3';
}
