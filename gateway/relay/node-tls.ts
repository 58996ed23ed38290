/** TLS to the nodes: one secure context for each identity. */

import { isIP, type Socket } from 'node:net';
import {
  type ConnectionOptions,
  connect,
  createSecureContext,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import type { Identities, IdentitySource } from '../certificates/identity-store.ts';
import { type NodeIdentity, nodeIdentitySource } from '../certificates/node-identity.ts';
import type { NodeAddress, Upstream } from '../policy/upstream.ts';
import type { ClientTls } from '../sources/client-tls.ts';

/** How connections to the nodes of an upstream are currently secured. */
export interface SecuredBy {
  /** Begins the handshake over a TCP connection that is still being established. */
  secure(transport: Socket, node: NodeAddress): TLSSocket;
}

interface Known {
  readonly identity: NodeIdentity;
  readonly securedBy: SecuredBy | undefined;
}

/** One context per upstream, replaced when its files or its TLS settings change. */
export class NodeTlsContexts {
  readonly #identities: Pick<Identities<NodeIdentity>, 'get'>;
  readonly #known = new WeakMap<ClientTls, Known>();
  readonly #sources = new WeakMap<Upstream, IdentitySource<NodeIdentity>>();

  constructor(identities: Pick<Identities<NodeIdentity>, 'get'>) {
    this.#identities = identities;
  }

  /**
   * Returns how to secure the connections of an upstream now, or a promise of it; undefined if its files cannot be
   * used. Never throws or rejects.
   */
  find(upstream: Upstream): SecuredBy | Promise<SecuredBy | undefined> | undefined {
    let source = this.#sources.get(upstream);
    if (source === undefined) {
      source = nodeIdentitySource(upstream);
      this.#sources.set(upstream, source);
    }
    const identity = this.#identities.get(source);
    if (identity instanceof Promise) return identity.then((read) => this.#contextOf(upstream.tls, read));
    return this.#contextOf(upstream.tls, identity);
  }

  #contextOf(tls: ClientTls, identity: NodeIdentity | undefined): SecuredBy | undefined {
    if (identity === undefined) return undefined;
    const known = this.#known.get(tls);
    if (known?.identity === identity) return known.securedBy;
    const made = securedBy(identity, tls);
    this.#known.set(tls, { identity, securedBy: made });
    return made;
  }
}

/** Node certificates are fully verified, including the name; without `ca`, against the public authorities. */
function securedBy(identity: NodeIdentity, { serverName, minTlsVersion }: ClientTls): SecuredBy | undefined {
  const secureContext = secureContextOf(identity, minTlsVersion);
  if (secureContext === undefined) return undefined;
  return {
    secure(transport, { host }) {
      const options: ConnectionOptions = {
        socket: transport,
        host,
        secureContext,
        ALPNProtocols: ['http/1.1'],
        rejectUnauthorized: true,
        // An address is not a server name (RFC 6066 §3); it is matched against the addresses in the certificate.
        ...(serverName !== undefined ? { servername: serverName } : isIP(host) === 0 && { servername: host }),
      };
      return connect(options);
    },
  };
}

/** Returns undefined if OpenSSL rejects the material; reading the files has already tried it and reported the fault. */
function secureContextOf(
  { authorities, key }: NodeIdentity,
  minVersion: ClientTls['minTlsVersion'],
): SecureContext | undefined {
  try {
    return createSecureContext({
      ...(authorities !== undefined && { ca: authorities.map((each) => each.toString()) }),
      ...(key !== undefined && { cert: key.chainPem, key: key.keyPem }),
      minVersion,
    });
  } catch {
    return undefined;
  }
}
