/** Finds what is legal but probably unintended in address lists: prefixes that are redundant, or allowed and denied. */

import { addressOf, prefixAround } from '../core/address.ts';
import type { PrefixEntry } from '../core/prefix-tree.ts';
import type { ListContents } from '../lists/contents.ts';
import type { AddressList, AddressRules, Tenant } from './policy.ts';

/** Limit on the warnings of one kind for each list; the rest are only counted. */
const MAX_WARNINGS = 20;

interface Place {
  readonly list: AddressList;
  readonly contents: ListContents;
}

/** Returns warnings about lists that have been read, as `file:line: problem`. */
export function listWarnings(tenant: Tenant): readonly string[] {
  const routes = tenant.routes.entries.flatMap(({ route }) => route.addresses ?? []);
  const warnings = judge(tenant.addresses, tenant.addresses.deny ?? []);
  for (const rules of routes) warnings.push(...judge(rules, tenant.addresses.deny ?? []));
  return [...new Set(warnings)];
}

/** Compares allowed lists with each other and with denied ones, and denied lists with each other. */
function judge({ allow = [], deny = [] }: AddressRules, denied: readonly AddressList[]): string[] {
  const [allowing, denying] = [placesOf(allow), placesOf(deny)];
  return [
    ...denying.flatMap((place) => repeatsIn(place, denying)),
    ...allowing.flatMap((place) => [
      ...repeatsIn(place, allowing),
      ...capped(place, (entry) => heldBy(entry, placesOf(denied), 'is allowed, but denied by')),
    ]),
  ];
}

function placesOf(lists: readonly AddressList[]): readonly Place[] {
  return lists.flatMap((list) =>
    list.parts.flatMap(({ contents }) => (contents ? [{ list, contents }] : [])),
  );
}

/** Finds entries that are duplicates, or lie within a wider one. */
function repeatsIn(place: Place, places: readonly Place[]): readonly string[] {
  const { tree, placeOf } = place.contents;
  const twice = tree.repeats
    .slice(0, MAX_WARNINGS)
    .map(([number, first]) => `${placeOf(number)}: duplicate of ${placeOf(first)}`);
  const others = places.filter((each) => each !== place);
  const within = capped(place, (entry) => {
    const wider =
      entry.bits > 0 ? heldBy(entry, [place], 'is redundant: covered by', entry.bits - 1) : undefined;
    return wider ?? heldBy(entry, others, 'is redundant: covered by');
  });
  return [...twice, ...within];
}

/** Returns a warning if a prefix of at most `mostBits` bits in one of the places covers the entry. */
function heldBy(
  { family, words, bits }: PrefixEntry,
  places: readonly Place[],
  what: string,
  mostBits = bits,
): string | undefined {
  const address = addressOf(family, words);
  for (const { list, contents } of places) {
    const match = contents.tree.lookup(address, mostBits);
    if (match === undefined) continue;
    const { text } = prefixAround(address, match.bits);
    return `${address.text}/${bits} ${what} ${text} of list ${list.name} (${contents.placeOf(match.number)})`;
  }
  return undefined;
}

function capped({ list, contents }: Place, judgeEntry: (entry: PrefixEntry) => string | undefined): string[] {
  const warnings: string[] = [];
  let more = 0;
  for (const entry of contents.tree.entries()) {
    const sentence = judgeEntry(entry);
    if (sentence === undefined) continue;
    if (warnings.length < MAX_WARNINGS) warnings.push(`${contents.placeOf(entry.number)}: ${sentence}`);
    else more += 1;
  }
  if (more > 0) warnings.push(`and ${more} more like these in list ${list.name}`);
  return warnings;
}
