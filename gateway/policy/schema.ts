/** What may be written in a policy, as JSON Schema for editors and as a flat list of keys for the documentation. */

import { z } from 'zod';
import { gatewayFile } from './gateway-file.ts';
import { tenantFile } from './tenant-file.ts';

/** The two kinds of policy file. */
export const policyFiles = ['gateway', 'tenant'] as const;
export type PolicyFileKind = (typeof policyFiles)[number];

/** A JSON Schema (2020-12); of its keywords only those used here are named. */
export interface JsonSchema {
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly additionalProperties?: boolean | JsonSchema;
}

/** A key that can be set. */
export interface ConfigKey {
  /** `gateway.limits.headBytes`; `[]` is a list's member, `<name>` a name of one's own. */
  readonly path: string;
  readonly description: string;
  /** As it would be written; undefined where the key must be given or may be left out. */
  readonly defaultText: string | undefined;
  readonly required: boolean;
  /** Where `required` holds only if another key is written as an object: that key, as in `audit` or `nodes[]`. */
  readonly requiredIn: string | undefined;
}

/** The schema of one kind of file, as it is written by hand: durations and sizes are text. */
export function policySchema(kind: PolicyFileKind): JsonSchema {
  const schema = kind === 'gateway' ? gatewayFile : tenantFile;
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
}

/** Every key that has a description, in the order of the file. */
export function configKeys(kind: PolicyFileKind): readonly ConfigKey[] {
  return [...keysBelow(policySchema(kind), '', false)];
}

/** `mayBeAbsent`: the object need not be written, since its key is optional or takes something else in its place. */
function* keysBelow(schema: JsonSchema, path: string, mayBeAbsent: boolean): Generator<ConfigKey> {
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    const childPath = path === '' ? name : `${path}.${name}`;
    const required = schema.required?.includes(name) === true;
    if (child.description !== undefined) {
      yield {
        path: childPath,
        description: child.description,
        defaultText: defaultText(child.default),
        required,
        requiredIn: required && mayBeAbsent ? path.slice(path.lastIndexOf('.') + 1) : undefined,
      };
    }
    yield* keysBelow(child, childPath, !required);
  }
  if (schema.items !== undefined) yield* keysBelow(schema.items, `${path}[]`, false);
  for (const alternative of schema.anyOf ?? []) yield* keysBelow(alternative, path, true);
  if (typeof schema.additionalProperties === 'object')
    yield* keysBelow(schema.additionalProperties, `${path}.<name>`, false);
}

function defaultText(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  return typeof value === 'string' ? value : JSON.stringify(value);
}
