/** What is no fault in address lists and most likely no intention: prefixes that change nothing, or undo each other. */

import { addressOf, prefixAround } from '../core/address.ts';
import type { PrefixEntry } from '../core/prefix-tree.ts';
import type { ListContents } from '../lists/contents.ts';
import type { AddressList, AddressRules, Tenant } from './policy.ts';

/** Told of one list, at most; how many more there are is told as well. */
const MAX_WARNINGS = 20;

interface Place {
  readonly list: AddressList;
  readonly contents: ListContents;
}

/** Sentences, each with `file:line` before it; of lists that were read. */
export function listWarnings(tenant: Tenant): readonly string[] {
  const routes = tenant.routes.entries.flatMap(({ route }) => route.addresses ?? []);
  const warnings = judge(tenant.addresses, tenant.addresses.deny ?? []);
  for (const rules of routes) warnings.push(...judge(rules, tenant.addresses.deny ?? []));
  return [...new Set(warnings)];
}

/** The lists of each verdict against each other, and what is allowed against what is denied. */
function judge({ allow = [], deny = [] }: AddressRules, denied: readonly AddressList[]): string[] {
  const [allowing, denying] = [placesOf(allow), placesOf(deny)];
  return [
    ...denying.flatMap((place) => repeatsIn(place, denying)),
    ...allowing.flatMap((place) => [
      ...repeatsIn(place, allowing),
      ...capped(place, (entry) => heldBy(entry, placesOf(denied), 'is allowed in vain: denied by')),
    ]),
  ];
}

function placesOf(lists: readonly AddressList[]): readonly Place[] {
  return lists.flatMap((list) =>
    list.parts.flatMap(({ contents }) => (contents ? [{ list, contents }] : [])),
  );
}

/** Entries that stand there twice, or lie within a wider one. */
function repeatsIn(place: Place, places: readonly Place[]): readonly string[] {
  const { tree, placeOf } = place.contents;
  const twice = tree.repeats
    .slice(0, MAX_WARNINGS)
    .map(([number, first]) => `${placeOf(number)}: stands there twice, first at ${placeOf(first)}`);
  const others = places.filter((each) => each !== place);
  const within = capped(place, (entry) => {
    const wider =
      entry.bits > 0 ? heldBy(entry, [place], 'changes nothing: it lies in', entry.bits - 1) : undefined;
    return wider ?? heldBy(entry, others, 'changes nothing: it lies in');
  });
  return [...twice, ...within];
}

/** Which prefix of the places holds the entry, as a sentence. */
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
