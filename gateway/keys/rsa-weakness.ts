/** Detects RSA public keys that prove nothing, because the private key can be computed or is not needed. */

/** The members of an RSA key (RFC 7518 §6.3.1), big-endian numbers in base64url. */
export interface RsaMembers {
  readonly n?: unknown;
  readonly e?: unknown;
}

/** Moduli of the broken generator are powers of this modulo every small prime. */
const GENERATOR = 65537n;
/** Exponents are below this (FIPS 186-5 §A.1.1). */
const EXPONENT_END = 2n ** 256n;
const SMALL_PRIMES = [
  ...[
    3n,
    5n,
    7n,
    11n,
    13n,
    17n,
    19n,
    23n,
    29n,
    31n,
    37n,
    41n,
    43n,
    47n,
    53n,
    59n,
    61n,
    67n,
    71n,
    73n,
    79n,
    83n,
  ],
  ...[89n, 97n, 101n, 103n, 107n, 109n, 113n, 127n, 131n, 137n, 139n, 149n, 151n, 157n, 163n, 167n],
];

/**
 * What is wrong with the key, if it has a weakness that its public half shows. The cost grows with the length of its
 * members, which the caller must bound.
 */
export function rsaWeakness({ n, e }: RsaMembers): string | undefined {
  const exponent = readNumber(e);
  const modulus = readNumber(n);
  if (exponent === undefined || modulus === undefined) return 'an RSA key lacks n or e';
  if (exponent >= EXPONENT_END) return 'an RSA key has an exponent of more than 256 bits';
  if (exponent < 3n || exponent % 2n === 0n)
    return `an RSA key needs an odd exponent of at least 3, got ${exponent}`;
  return isRoca(modulus) ? 'an RSA key comes from a broken generator (CVE-2017-15361)' : undefined;
}

function readNumber(value: unknown): bigint | undefined {
  if (typeof value !== 'string' || value === '') return undefined;
  const hex = Buffer.from(value, 'base64url').toString('hex');
  return hex === '' ? undefined : BigInt(`0x${hex}`);
}

/**
 * "The Return of Coppersmith's Attack" (Nemec et al., 2017) §4: a modulus that is a power of 65537 modulo each of these
 * primes comes from the broken generator; of other moduli, one in 2^27 is such a power.
 */
function isRoca(modulus: bigint): boolean {
  return SMALL_PRIMES.every((prime) => isPower(modulus % prime, prime));
}

function isPower(residue: bigint, prime: bigint): boolean {
  const base = GENERATOR % prime;
  let power = 1n;
  do {
    if (power === residue) return true;
    power = (power * base) % prime;
  } while (power > 1n);
  return false;
}
