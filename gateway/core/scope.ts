/** Scopes: what a token allows, compared by whole words and exact models, never by substrings. */

export const scopeNames = ['read', 'finetune', 'publish'] as const;

export type ScopeName = (typeof scopeNames)[number];

/** One word of a scope claim. */
export interface Grant {
  readonly scope: ScopeName;
  /** The one model it is for, compared exactly; absent means every model. */
  readonly model?: string;
}

/** What a scope includes besides itself; not transitive. */
export type ScopeInclusions = ReadonlyMap<ScopeName, ReadonlySet<ScopeName>>;

const byWord: ReadonlyMap<string, ScopeName> = new Map(scopeNames.map((name) => [name, name]));

/**
 * Parses a `scope` (RFC 8693 §4.2: words separated by one space) or `scp` claim (such a string, or an array of words).
 * Words are `read`, `finetune`, `publish`, each alone or with `:<model>`, and `train:<model>` for `finetune:<model>`.
 * Any other word or type grants nothing.
 */
export function parseScopes(claim: unknown): Grant[] {
  const words: unknown[] = typeof claim === 'string' ? claim.split(' ') : Array.isArray(claim) ? claim : [];
  return words.flatMap((word) => (typeof word === 'string' ? (parseWord(word) ?? []) : []));
}

function parseWord(word: string): Grant | undefined {
  const colon = word.indexOf(':');
  if (colon < 0) {
    const scope = byWord.get(word);
    return scope && { scope };
  }
  const kind = word.slice(0, colon);
  const model = word.slice(colon + 1);
  const scope = kind === 'train' ? 'finetune' : byWord.get(kind);
  return scope === undefined || model === '' ? undefined : { scope, model };
}

/** Whether any grant covers the scope on the model; a grant for one model does not cover a request without a model. */
export function grants(
  held: readonly Grant[],
  inclusions: ScopeInclusions,
  scope: ScopeName,
  modelId: string | undefined,
): boolean {
  return held.some(
    (grant) =>
      (grant.scope === scope || inclusions.get(grant.scope)?.has(scope) === true) &&
      (grant.model === undefined || grant.model === modelId),
  );
}
