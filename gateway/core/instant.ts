/** Moments as people write them: RFC 3339, with a zone, since a local time is another moment elsewhere. */

const INSTANT = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/**
 * `2026-12-01T00:00:00Z` (RFC 3339 §5.6, with capitals, without leap seconds) in milliseconds since the epoch; nothing for
 * any other text, or for a day that is in no calendar: `Date` takes 30 February for 2 March.
 */
export function parseInstant(text: string): number | undefined {
  const [, written] = INSTANT.exec(text) ?? [];
  if (written === undefined) return undefined;
  const asUtc = new Date(`${written}Z`);
  const isReal = !Number.isNaN(asUtc.getTime()) && asUtc.toISOString().startsWith(written);
  return isReal ? Date.parse(text) : undefined;
}
