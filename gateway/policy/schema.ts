/** The policy schemas as JSON Schema for editors, and as a flat list of keys for the documentation. */

import { z } from 'zod';
import { gatewayFile } from './gateway-file.ts';
import { tenantFile } from './tenant-file.ts';

export const policyFiles = ['gateway', 'tenant'] as const;
export type PolicyFileKind = (typeof policyFiles)[number];

/** A JSON Schema (2020-12), with only the keywords that are used here. */
export interface JsonSchema {
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly additionalProperties?: boolean | JsonSchema;
}

export interface ConfigKey {
  /** `gateway.limits.headBytes`; `[]` stands for a list member, `<name>` for a user-defined name. */
  readonly path: string;
  readonly description: string;
  /** The default as written in YAML; undefined if there is none. */
  readonly defaultText: string | undefined;
  readonly required: boolean;
  /** If `required` applies only within an optional object: the key of that object, as in `audit` or `nodes[]`. */
  readonly requiredIn: string | undefined;
}

/** Returns the schema of one kind of file as written by hand, where durations and sizes are text. */
export function policySchema(kind: PolicyFileKind): JsonSchema {
  const schema = kind === 'gateway' ? gatewayFile : tenantFile;
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
}

/** Returns every key that has a description, in schema order. */
export function configKeys(kind: PolicyFileKind): readonly ConfigKey[] {
  return [...keysBelow(policySchema(kind), '', false)];
}

/** `mayBeAbsent`: the object can be omitted, since its key is optional or accepts another kind of value. */
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
