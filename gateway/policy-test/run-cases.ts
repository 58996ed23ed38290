/** Decides the cases of a test file under its policy, and compares the outcomes with the expected ones. */

import { isDenial, statusOf } from '../core/denial.ts';
import { rulePlace } from '../explain/describe-step.ts';
import type { Decided, Rehearsal } from '../explain/rehearsal.ts';
import type { Coverage } from './coverage.ts';
import { requestFromCase } from './request-from-case.ts';
import type { Expectation, RequestFile, TestFile } from './test-file.ts';

export interface CaseResult {
  readonly name: string;
  /** One text for each expectation that was not met, or for what keeps the case from being decided. */
  readonly differences: readonly string[];
}

/** Resolves to one result per case, in order. `time` defaults to now. */
export async function runCases(
  rehearsal: Rehearsal,
  { cases, base, time = Date.now() }: TestFile,
  coverage: Coverage,
): Promise<readonly CaseResult[]> {
  const results: CaseResult[] = [];
  for (const { name, request, expect } of cases) {
    const hypothetical = requestFromCase(rehearsal.policy, merged(base, request), time);
    if (typeof hypothetical === 'string') {
      results.push({ name, differences: [hypothetical] });
      continue;
    }
    const decided = await rehearsal.decide(hypothetical);
    coverage.add(decided);
    results.push({ name, differences: differencesOf(decided, expect) });
  }
  return results;
}

/** Values of the case replace those of `base`; headers are replaced one by one. */
function merged(base: RequestFile, own: RequestFile): RequestFile {
  return {
    ...base,
    ...own,
    ...(base.headers !== undefined && { headers: { ...base.headers, ...own.headers } }),
  };
}

/** The outcome is `admitted` or a denial code; a denial in shadow mode counts as one here. */
function differencesOf({ decision, trail }: Decided, expected: Expectation): readonly string[] {
  const wanted = typeof expected === 'string' ? { outcome: expected } : expected;
  const refused = isDenial(decision) ? decision : decision.shadowed;
  const found: Readonly<Record<string, string | number | undefined>> = {
    outcome: refused?.code ?? 'admitted',
    status: refused === undefined ? undefined : statusOf(refused),
    route: trail.route?.name,
    rule: refused?.rule,
  };
  const differing = Object.entries(wanted).filter(
    ([key, value]) => value !== undefined && found[key] !== value,
  );
  if (differing.length === 0) return [];
  const place = refused && rulePlace(refused, trail);
  const by = place === undefined ? '' : ` by ${place}`;
  const because = refused === undefined ? '' : ` (${refused.detail}${by})`;
  return differing.map(
    ([key, value]) =>
      `expected ${key} ${value}, got ${found[key] ?? 'none'}${key === 'outcome' ? because : ''}`,
  );
}
