/** Parses the text of a policy file into its contents, or into a list of its faults with their places. */

import type { z } from 'zod';
import { firstFaults, type PolicyFault } from '../core/fault.ts';
import type { Path } from './places.ts';
import { type SoundParts, soundParts } from './sound-parts.ts';
import { YamlFile } from './yaml-file.ts';

export interface FileContents<T> {
  readonly yaml: YamlFile;
  /** Absent if there are faults. */
  readonly contents?: T;
  /** The contents without faulty values: for finding further faults, never to be used. */
  readonly sound?: SoundParts<T>;
  readonly faults: readonly PolicyFault[];
}

type Issue = z.core.$ZodIssue;

/** Parses the text by the schema and reports all faults, not only the first. `folder`: see `YamlFile`. */
export function readFile<S extends z.ZodType>(
  file: string,
  text: string,
  schema: S,
  folder?: string,
): FileContents<z.output<S>> {
  const yaml = new YamlFile(file, text, folder);
  if (yaml.faults.length > 0) return { yaml, faults: yaml.faults };
  const result = schema.safeParse(yaml.value);
  if (result.success) return { yaml, contents: result.data, faults: [] };
  const { issues } = result.error;
  const found = issues.flatMap((issue) => describe(yaml, issue));
  const faults = firstFaults(found);
  // If some faults were cut off, `furtherFaults` could not tell whether a fault is a new one.
  const sound = faults === found ? soundParts(schema, yaml.value, issues, yaml) : undefined;
  return { yaml, faults, ...(sound !== undefined && { sound }) };
}

/** Returns `found` without faults that follow from `known` ones: at the same value, around it or within it. */
export function furtherFaults(
  known: readonly PolicyFault[],
  found: readonly PolicyFault[],
): readonly PolicyFault[] {
  return found.filter(({ path }) => !known.some((each) => holds(each.path, path) || holds(path, each.path)));
}

/** `routes[1]` holds itself and `routes[1].match`, but not `routes[10]`. */
function holds(around: string, path: string): boolean {
  return path === around || path.startsWith(`${around}.`) || path.startsWith(`${around}[`);
}

function describe(yaml: YamlFile, issue: Issue, around: Path = []): PolicyFault[] {
  const path = [...around, ...issue.path] as Path;
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => yaml.atKey(path, key, `unknown key ${key}`));
  }
  if (issue.code === 'invalid_key') {
    const expected = firstMessage(issue.issues);
    return [yaml.atKey(path.slice(0, -1), String(path.at(-1)), 'is not a valid name', expected)];
  }
  if (issue.code === 'invalid_union') return describeUnion(yaml, issue, path);
  if (!yaml.has(path)) return [yaml.at(path, 'is missing', missingHint(issue))];
  const { problem, expected } = wording(issue);
  return [yaml.at(path, problem, expected)];
}

/** Describes the branch most likely meant: of those that do not fail as a whole, the one with the fewest issues. */
function describeUnion(
  yaml: YamlFile,
  issue: Extract<Issue, { code: 'invalid_union' }>,
  path: Path,
): PolicyFault[] {
  if (!yaml.has(path)) return [yaml.at(path, 'is missing', missingHint(issue))];
  const branches = issue.errors.filter((errors) =>
    errors.some((each) => each.path.length > 0 || 'keys' in each),
  );
  const [meant] = branches.sort((a, b) => a.length - b.length);
  if (meant === undefined) return [yaml.at(path, 'has an invalid value', unionHint(issue))];
  return meant.flatMap((each) => describe(yaml, each, path));
}

function wording(issue: Issue): { readonly problem: string; readonly expected?: string } {
  switch (issue.code) {
    case 'invalid_type':
      return {
        problem: 'has the wrong type',
        expected: wanted(issue.message) ?? kind(issue.expected),
      };
    case 'invalid_value':
      return { problem: 'has an unknown value', expected: issue.values.map(String).join(', ') };
    case 'too_small':
      return { problem: 'is too small', expected: `at least ${issue.minimum}${counted(issue.origin)}` };
    case 'too_big':
      return { problem: 'is too large', expected: `at most ${issue.maximum}${counted(issue.origin)}` };
    case 'invalid_format':
      return { problem: 'has the wrong format', expected: issue.message };
    case 'custom':
      return withExpected(issue.message, issue.params?.['expected']);
    default:
      return { problem: issue.message };
  }
}

/** Returns the schema's own message, if any; those of zod begin with `Invalid input`. */
function wanted(message: string): string | undefined {
  return message.startsWith('Invalid input') ? undefined : message;
}

function withExpected(
  problem: string,
  expected: unknown,
): { readonly problem: string; readonly expected?: string } {
  return typeof expected === 'string' ? { problem, expected } : { problem };
}

const KINDS: ReadonlyMap<string, string> = new Map([
  ['object', 'a mapping'],
  ['record', 'a mapping'],
  ['array', 'a list'],
  ['string', 'text'],
  ['number', 'a number'],
  ['int', 'a whole number'],
  ['boolean', 'true or false'],
]);

function kind(expected: string): string {
  return KINDS.get(expected) ?? expected;
}

function counted(origin: string): string {
  return origin === 'array' || origin === 'set' ? ' entries' : origin === 'string' ? ' characters' : '';
}

function missingHint(issue: Issue): string | undefined {
  if (issue.code === 'invalid_type') return kind(issue.expected);
  if (issue.code === 'invalid_value') return issue.values.map(String).join(', ');
  if (issue.code === 'invalid_union') return issue.path.at(-1) === 'require' ? 'a scope, or none' : undefined;
  return undefined;
}

function unionHint(issue: Extract<Issue, { code: 'invalid_union' }>): string | undefined {
  const hints = issue.errors.flat().map((each) => wording(each).expected);
  return hints.filter((hint) => hint !== undefined).join(', or ') || undefined;
}

function firstMessage(issues: readonly Issue[]): string | undefined {
  return issues[0]?.message;
}
