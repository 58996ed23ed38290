/** Describes what the body of an admitted request is checked against, with the lines of the policy. */

import type { Rate } from '../core/units.ts';
import { patchExpectation, type Trail } from '../decide.ts';
import type { ContentRules, PatchExpectation } from '../patch/check.ts';
import type { Route, RouteLimits, StreamRule } from '../policy/policy.ts';
import type { RulePlaces } from '../policy/rule-places.ts';

export function describeLimits({ route, params = {}, token }: Trail): readonly string[] {
  if (route === undefined) return [];
  const { stream, upgrade, limits, places } = route;
  return [
    ...(upgrade === undefined
      ? []
      : [`a ${upgrade.protocol} handshake, and nothing else (${places.of('upgrade')})`]),
    ...(stream === undefined
      ? []
      : describeStream(stream, route, patchExpectation({ route, params }, token))),
    ...(limits === undefined ? [] : describeRouteLimits(limits, places)),
  ];
}

function describeStream(stream: StreamRule, route: Route, expectation: PatchExpectation): readonly string[] {
  const { maxBytes, format, minRate } = stream;
  return [
    ...(maxBytes === undefined
      ? []
      : [`bodies up to ${maxBytes} bytes (${route.places.of('stream.maxBytes')})`]),
    ...(format === undefined ? [] : describePatch(format, stream, route, expectation)),
    ...(minRate === undefined
      ? []
      : [`at least ${rateText(minRate.rate, ' bytes')} (${route.places.of('stream.minRate')})`]),
  ];
}

const CHECKED: Readonly<Record<StreamRule['check'], string>> = {
  header: 'its frames, their order, checksums and bounds',
  deep: 'its frames, their order, checksums and bounds, and every index',
  values: 'its frames, their order, checksums and bounds, every index, and every value, which must be finite',
};

function describePatch(
  format: string,
  { check, content = {} }: StreamRule,
  { places }: Route,
  expectation: PatchExpectation,
): readonly string[] {
  const asked = describeExpectation(expectation);
  return [
    `a ${format} (${places.of('stream.format')}), checked as it passes (${places.of('stream.check')}): ${CHECKED[check]}`,
    ...(asked.length === 0 ? [] : [`it must be ${asked.join(', ')}`]),
    ...describeContent(content).map(([key, words]) => `${words} (${places.of(`stream.${key}`)})`),
  ];
}

function describeExpectation(expectation: PatchExpectation): readonly string[] {
  const { modelId, baseVersion, targetVersion, maxEpoch } = expectation;
  return [
    ...(modelId === undefined ? [] : [`for model ${modelId}`]),
    ...(baseVersion === undefined ? [] : [`from version ${baseVersion}`]),
    ...(targetVersion === undefined ? [] : [`to version ${targetVersion}`]),
    ...(maxEpoch === undefined ? [] : [`of epoch ${maxEpoch} or earlier`]),
  ];
}

function describeContent({
  maxAbs,
  maxChanged,
  tensors,
}: ContentRules): readonly (readonly [string, string])[] {
  return [
    ...(maxAbs === undefined ? [] : [['maxAbs', `values from -${maxAbs} to ${maxAbs}`] as const]),
    ...(maxChanged === undefined
      ? []
      : [['maxChanged', `at most ${+(maxChanged * 100).toFixed(6)} % of a tensor`] as const]),
    ...(tensors === undefined
      ? []
      : [['tensors', `only tensors named ${tensors.map(({ text }) => text).join(' or ')}`] as const]),
  ];
}

/** States the limits only: how much of them is used is known to the running gateway alone. */
function describeRouteLimits(
  { requests, concurrent, bytes, per }: RouteLimits,
  places: RulePlaces,
): readonly string[] {
  const parts = [
    ...(requests === undefined ? [] : [['requests', `${rateText(requests, ' requests')}`]]),
    ...(concurrent === undefined ? [] : [['concurrent', `${concurrent} requests at once`]]),
    ...(bytes === undefined ? [] : [['bytes', `${rateText(bytes, ' bytes')}`]]),
  ];
  return parts.map(
    ([rule, text]) => `${text} per ${per}, counted by the running gateway (${places.of(`limits.${rule}`)})`,
  );
}

const PERIODS: ReadonlyMap<number, string> = new Map([
  [1000, 'second'],
  [60_000, 'minute'],
  [3_600_000, 'hour'],
  [86_400_000, 'day'],
]);

function rateText({ count, perMs }: Rate, unit: string): string {
  return `${count}${unit} a ${PERIODS.get(perMs) ?? `${perMs} ms`}`;
}
