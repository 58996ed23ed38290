/** Instants in RFC 3339 with a time zone: a local time would be a different instant elsewhere. */

const INSTANT = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/**
 * Parses `2026-12-01T00:00:00Z` (RFC 3339 §5.6, upper case, no leap seconds) into milliseconds since the epoch. Returns
 * undefined for any other text, and for a day that does not exist: `Date` takes 30 February for 2 March.
 */
export function parseInstant(text: string): number | undefined {
  const [, written] = INSTANT.exec(text) ?? [];
  if (written === undefined) return undefined;
  const asUtc = new Date(`${written}Z`);
  const isReal = !Number.isNaN(asUtc.getTime()) && asUtc.toISOString().startsWith(written);
  return isReal ? Date.parse(text) : undefined;
}
