/** The authorities whose client certificates a server name accepts, and their revocation lists. */

import { hash, type X509Certificate } from 'node:crypto';
import { serialText } from './der.ts';
import type { RevocationList, RevokedSerials } from './revocation-list.ts';

/** Which revocation lists are required, and whether one past its `nextUpdate` is accepted. */
export interface RevocationRules {
  /** `chain`: every authority of the chain needs a list. `leaf`: only the one that issued the certificate. */
  readonly crl: 'chain' | 'leaf';
  readonly expiredCrl: 'refuse' | 'accept';
}

/** An authority with its newest list. */
export interface ClientAuthority {
  readonly certificate: X509Certificate;
  readonly list?: RevokedSerials;
}

const CHAIN_LENGTH = 8;

export class ClientAuthorities {
  readonly authorities: readonly ClientAuthority[];
  /** There is a file of lists: every certificate must be looked up in one. */
  readonly looksUp: boolean;
  #digest: string | undefined;

  constructor(authorities: readonly ClientAuthority[], looksUp: boolean) {
    this.authorities = authorities;
    this.looksUp = looksUp;
  }

  /** Gives each authority the newest list it has signed. Without `lists`, nothing is ever revoked. */
  static of(
    certificates: readonly X509Certificate[],
    lists: readonly RevocationList[] | undefined,
  ): ClientAuthorities {
    const authorities = certificates.map((certificate) => {
      const own = (lists ?? []).filter((list) => list.isSignedBy(certificate.publicKey));
      const [list] = own.sort((a, b) => b.thisUpdateMs - a.thisUpdateMs);
      return { certificate, ...(list !== undefined && { list }) };
    });
    return new ClientAuthorities(authorities, lists !== undefined);
  }

  /** The authorities, one PEM each. */
  get pems(): readonly string[] {
    return this.authorities.map(({ certificate }) => certificate.toString());
  }

  /** SHA-256, hex, over the authorities; revocation lists do not change it. */
  get digest(): string {
    this.#digest ??= hash('sha256', this.authorities.map((each) => each.certificate.fingerprint256).join());
    return this.#digest;
  }

  /** When the first authority expires, milliseconds since the epoch. */
  get notAfterMs(): number {
    return Math.min(...this.authorities.map(({ certificate }) => certificate.validToDate.getTime()));
  }

  /** The earliest `nextUpdate` of the lists, milliseconds since the epoch. */
  get nextUpdateMs(): number | undefined {
    const times = this.authorities.flatMap(({ list }) => list?.nextUpdateMs ?? []);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** Number of revoked certificates in all lists; undefined without lists. */
  get revoked(): number | undefined {
    if (!this.looksUp) return undefined;
    return this.authorities.reduce((sum, { list }) => sum + (list?.serials.size ?? 0), 0);
  }

  /**
   * Whether the certificate chains to one of these roots, through other authorities or the issuers that were `sent`
   * with it. For certificates that no handshake has verified against these authorities.
   */
  vouchFor(certificate: X509Certificate, sent: readonly X509Certificate[], nowMs: number): boolean {
    const own = this.authorities.map((authority) => authority.certificate);
    let each = certificate;
    for (let depth = 0; depth <= CHAIN_LENGTH; depth++) {
      const isIssuer = (issuer: X509Certificate): boolean => hasIssued(issuer, each, nowMs);
      const known = own.find(isIssuer);
      const issuer = known ?? sent.find(isIssuer);
      if (issuer === undefined) return false;
      if (issuer.checkIssued(issuer)) return known !== undefined;
      each = issuer;
    }
    return false;
  }

  /** Returns why a certificate that chains to these authorities is refused, or undefined. */
  objection(certificate: X509Certificate, rules: RevocationRules, nowMs: number): string | undefined {
    return this.looksUp ? this.#lookUp(certificate, rules, nowMs, 0) : undefined;
  }

  /**
   * When the first list that the certificate is looked up in expires, milliseconds since the epoch: from then on there
   * is an objection. Undefined if there is no such time.
   */
  listsDueMs(certificate: X509Certificate, { crl, expiredCrl }: RevocationRules): number | undefined {
    if (!this.looksUp || expiredCrl === 'accept') return undefined;
    let dueMs = Number.POSITIVE_INFINITY;
    let issuers = this.#issuersOf(certificate);
    for (let depth = 0; issuers.length > 0 && depth <= CHAIN_LENGTH; depth++) {
      for (const { list } of issuers) dueMs = Math.min(dueMs, list?.nextUpdateMs ?? dueMs);
      if (crl === 'leaf') break;
      const above = issuers.filter((each) => !each.certificate.checkIssued(each.certificate));
      issuers = above.flatMap((each) => this.#issuersOf(each.certificate));
    }
    return dueMs === Number.POSITIVE_INFINITY ? undefined : dueMs;
  }

  #issuersOf(certificate: X509Certificate): readonly ClientAuthority[] {
    return this.authorities.filter((each) => certificate.checkIssued(each.certificate));
  }

  #lookUp(
    certificate: X509Certificate,
    rules: RevocationRules,
    nowMs: number,
    depth: number,
  ): string | undefined {
    // A root vouches for itself, and can be revoked only by removing it from the file.
    if (depth > 0 && certificate.checkIssued(certificate)) return undefined;
    const issuers = this.#issuersOf(certificate);
    if (issuers.length === 0 || depth > CHAIN_LENGTH) return 'its issuer has no revocation list';
    for (const issuer of issuers) {
      const reason =
        lookUpIn(issuer.list, certificate, rules, nowMs) ??
        (rules.crl === 'chain' ? this.#lookUp(issuer.certificate, rules, nowMs, depth + 1) : undefined);
      if (reason !== undefined) return reason;
    }
    return undefined;
  }
}

function hasIssued(issuer: X509Certificate, certificate: X509Certificate, nowMs: number): boolean {
  return (
    issuer.ca &&
    issuer.validFromDate.getTime() <= nowMs &&
    nowMs <= issuer.validToDate.getTime() &&
    certificate.checkIssued(issuer) &&
    certificate.verify(issuer.publicKey)
  );
}

function lookUpIn(
  list: RevokedSerials | undefined,
  certificate: X509Certificate,
  { expiredCrl }: RevocationRules,
  nowMs: number,
): string | undefined {
  if (list === undefined) return 'its issuer has no revocation list';
  if (list.serials.has(serialText(certificate.serialNumber))) return 'it was revoked';
  const { nextUpdateMs = Number.POSITIVE_INFINITY } = list;
  return nextUpdateMs < nowMs && expiredCrl === 'refuse' ? 'the revocation list is past its time' : undefined;
}
