/** Finds the route of a method and path: the first that was written and fits both. */

/** A path as a route writes it, compiled; made by `parsePathPattern`. */
export interface PathPattern {
  /** As written. */
  readonly text: string;
  /** Names of the parameters, in order. */
  readonly params: readonly string[];
  readonly parts: readonly PatternPart[];
}

/** A literal segment, a parameter of one or two segments, or all the rest. */
export type PatternPart =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'param'; readonly name: string; readonly segments: 1 | 2 }
  | { readonly kind: 'rest' };

export interface RouteEntry<R> {
  readonly methods: readonly string[];
  readonly pattern: PathPattern;
  readonly route: R;
}

/** Parameter values by name, never decoded; the object has no prototype. */
export type RouteParams = Readonly<Record<string, string>>;

export type RouteMatch<R> =
  | { readonly kind: 'found'; readonly route: R; readonly params: RouteParams }
  /** The path is known, but not with this method; `allow` has the methods it is known with. */
  | { readonly kind: 'method'; readonly allow: readonly string[] }
  | { readonly kind: 'none' };

export interface RouteTable<R> {
  /** Every route, in written order. */
  readonly entries: readonly RouteEntry<R>[];
  /** GET does not imply HEAD. The path has passed `checkPath`. */
  match(method: string, path: string): RouteMatch<R>;
}

const LITERAL = /^[A-Za-z0-9._~!$&'()+,;=:@-]+$/;
const PARAM = /^\{([A-Za-z_][A-Za-z0-9_]*)(?:=(\*|\*\/\*))?\}$/;
/** A slash that stands in no braces: it separates parts. */
const PART_BREAK = /\/(?![^{}]*\})/;

/**
 * Reads a path pattern: `{name}` is one segment, `{name=*\/*}` two joined by a slash, `**` at the end all that is left, perhaps nothing.
 * The answer is a sentence when it is none.
 */
export function parsePathPattern(text: string): PathPattern | string {
  if (!text.startsWith('/')) return 'a path begins with a slash';
  const parts: PatternPart[] = [];
  const params: string[] = [];
  const pieces = text === '/' ? [] : text.slice(1).split(PART_BREAK);
  for (const [index, piece] of pieces.entries()) {
    const part = parsePart(piece, index === pieces.length - 1);
    if (typeof part === 'string') return part;
    if (part.kind === 'param') {
      if (params.includes(part.name)) return `{${part.name}} stands in the path twice`;
      params.push(part.name);
    }
    parts.push(part);
  }
  return { text, params, parts };
}

function parsePart(piece: string, last: boolean): PatternPart | string {
  if (piece === '**') return last ? { kind: 'rest' } : '** stands at the end of a path only';
  const [, name, shape] = PARAM.exec(piece) ?? [];
  if (name !== undefined) return { kind: 'param', name, segments: shape === '*/*' ? 2 : 1 };
  if (piece === '') return 'a path has no empty segment';
  if (piece === '.' || piece === '..') return 'a path has no dot segment';
  if (!LITERAL.test(piece)) return `the segment ${piece} is not a plain one, {name}, {name=*/*} or **`;
  return { kind: 'literal', text: piece };
}

/** The table over the entries in their order. */
export function buildRouteTable<R>(entries: Iterable<RouteEntry<R>>): RouteTable<R> {
  return new WrittenOrder([...entries]);
}

class WrittenOrder<R> implements RouteTable<R> {
  readonly entries: readonly RouteEntry<R>[];

  constructor(entries: readonly RouteEntry<R>[]) {
    this.entries = entries;
  }

  match(method: string, path: string): RouteMatch<R> {
    const segments = path === '/' ? [] : path.slice(1).split('/');
    const allow = new Set<string>();
    for (const { methods, pattern, route } of this.entries) {
      if (!fits(pattern.parts, segments)) continue;
      if (methods.includes(method)) return { kind: 'found', route, params: paramsOf(pattern, segments) };
      for (const known of methods) allow.add(known);
    }
    return allow.size === 0 ? { kind: 'none' } : { kind: 'method', allow: [...allow] };
  }
}

function fits(parts: readonly PatternPart[], segments: readonly string[]): boolean {
  let at = 0;
  for (const part of parts) {
    if (part.kind === 'rest') return at <= segments.length;
    if (part.kind === 'literal') {
      if (segments[at] !== part.text) return false;
      at += 1;
    } else {
      at += part.segments;
    }
  }
  return at === segments.length;
}

/** The parameters of a path that fits. */
function paramsOf(pattern: PathPattern, segments: readonly string[]): RouteParams {
  const params: Record<string, string> = Object.create(null);
  let at = 0;
  for (const part of pattern.parts) {
    if (part.kind === 'param') {
      params[part.name] = segments.slice(at, at + part.segments).join('/');
      at += part.segments;
    } else {
      at += 1;
    }
  }
  return params;
}
