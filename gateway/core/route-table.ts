/** Finds the route of a method and path, the first in written order that matches both, by comparing only a few. */

/** The path pattern of a route, compiled by `parsePathPattern`. */
export interface PathPattern {
  /** As written. */
  readonly text: string;
  /** Names of the parameters, in order. */
  readonly params: readonly string[];
  readonly parts: readonly PatternPart[];
}

/** A literal segment, a parameter of one or two segments, or the rest of the path. */
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
  /** Routes match the path, but not the method; `allow` lists their methods. */
  | { readonly kind: 'method'; readonly allow: readonly string[] }
  | { readonly kind: 'none' };

export interface RouteTable<R> {
  /** Every route, in written order. */
  readonly entries: readonly RouteEntry<R>[];
  /** GET does not imply HEAD. The path must have passed `checkPath`. */
  match(method: string, path: string): RouteMatch<R>;
}

const LITERAL = /^[A-Za-z0-9._~!$&'()+,;=:@-]+$/;
const PARAM = /^\{([A-Za-z_][A-Za-z0-9_]*)(?:=(\*|\*\/\*))?\}$/;
/** A slash outside braces, which separates parts. */
const PART_BREAK = /\/(?![^{}]*\})/;

/**
 * Parses a path pattern: `{name}` matches one segment, `{name=*\/*}` two joined by a slash, `**` at the end the rest of
 * the path, which may be empty. Returns an error string if the text is not a pattern.
 */
export function parsePathPattern(text: string): PathPattern | string {
  if (!text.startsWith('/')) return 'a path must begin with a slash';
  const parts: PatternPart[] = [];
  const params: string[] = [];
  const pieces = text === '/' ? [] : text.slice(1).split(PART_BREAK);
  for (const [index, piece] of pieces.entries()) {
    const part = parsePart(piece, index === pieces.length - 1);
    if (typeof part === 'string') return part;
    if (part.kind === 'param') {
      if (params.includes(part.name)) return `duplicate parameter {${part.name}}`;
      params.push(part.name);
    }
    parts.push(part);
  }
  return { text, params, parts };
}

function parsePart(piece: string, last: boolean): PatternPart | string {
  if (piece === '**') return last ? { kind: 'rest' } : '** is allowed only at the end of a path';
  const [, name, shape] = PARAM.exec(piece) ?? [];
  if (name !== undefined) return { kind: 'param', name, segments: shape === '*/*' ? 2 : 1 };
  if (piece === '') return 'a path must not have an empty segment';
  if (piece === '.' || piece === '..') return 'a path must not have a dot segment';
  if (!LITERAL.test(piece)) return `the segment ${piece} is not a plain segment, {name}, {name=*/*} or **`;
  return { kind: 'literal', text: piece };
}

/** The first of several entries that match wins. */
export function buildRouteTable<R>(entries: Iterable<RouteEntry<R>>): RouteTable<R> {
  return new RouteTree([...entries]);
}

/** Where patterns diverge. Each edge takes one or two segments, so a node is always at the same depth of a path. */
interface RouteNode {
  /** Numbers of the entries that diverge no further: the rest of their patterns is compared part by part. */
  readonly entries: number[];
  literals?: Map<string, RouteNode>;
  /** The node behind a parameter of one segment; `two`: of two segments. */
  one?: RouteNode;
  two?: RouteNode;
  /** The lowest number at or below this node, which is skipped if a lower one was found already. */
  first: number;
}

/**
 * A tree over the segments of the patterns, only as deep as needed to distinguish them. A look-up visits the nodes that
 * a path can lead to, once each: a handful, however many routes there are.
 */
class RouteTree<R> implements RouteTable<R> {
  readonly entries: readonly RouteEntry<R>[];
  readonly #root: RouteNode;

  constructor(entries: readonly RouteEntry<R>[]) {
    const parts = new Map<string, PatternPart>();
    const methods = new Map<string, readonly string[]>();
    this.entries = entries.map(({ route, ...entry }) => ({
      methods: share(entry.methods, methods),
      pattern: { ...entry.pattern, parts: entry.pattern.parts.map((part) => share(part, parts)) },
      route,
    }));
    this.#root = grow(
      this.entries,
      entries.map((_, number) => number),
      0,
    );
  }

  match(method: string, path: string): RouteMatch<R> {
    const segments = segmentsOf(path);
    const search = new Search(this.entries, method, segments);
    search.visit(this.#root, 0);
    const found = this.entries[search.best];
    if (found !== undefined)
      return { kind: 'found', route: found.route, params: paramsOf(found.pattern, segments) };
    const known = [...search.others].sort((a, b) => a - b);
    if (known.length === 0) return { kind: 'none' };
    const allow = new Set(known.flatMap((number) => this.entries[number]?.methods ?? []));
    return { kind: 'method', allow: [...allow] };
  }
}

/** The texts between the slashes. `split` costs more, as it caches its results; a path is split once per request. */
function segmentsOf(path: string): string[] {
  const segments: string[] = [];
  if (path === '/') return segments;
  let from = 1;
  for (let slash = path.indexOf('/', from); slash >= 0; slash = path.indexOf('/', from)) {
    segments.push(path.slice(from, slash));
    from = slash + 1;
  }
  segments.push(path.slice(from));
  return segments;
}

/** Replaces equal values by one object: what a thousand routes share stays in the processor's cache. */
function share<T>(value: T, shared: Map<string, T>): T {
  const key = JSON.stringify(value);
  const known = shared.get(key) ?? value;
  shared.set(key, known);
  return known;
}

/** The node of these entries, whose patterns are equal up to part `depth`. */
function grow(entries: readonly RouteEntry<unknown>[], numbers: readonly number[], depth: number): RouteNode {
  const node: RouteNode = { entries: [], first: numbers[0] ?? Number.POSITIVE_INFINITY };
  if (numbers.length === 1) {
    node.entries.push(...numbers);
    return node;
  }
  const below = Map.groupBy(numbers, (number) => keyOf(entries[number]?.pattern.parts[depth]));
  for (const [key, group] of below) {
    if (key === undefined) node.entries.push(...group);
    else if (key === 1) node.one = grow(entries, group, depth + 1);
    else if (key === 2) node.two = grow(entries, group, depth + 1);
    else {
      node.literals ??= new Map();
      node.literals.set(key, grow(entries, group, depth + 1));
    }
  }
  return node;
}

/** What a part matches: a segment with this text, or any one or two; undefined for `**` and behind the last part. */
function keyOf(part: PatternPart | undefined): string | 1 | 2 | undefined {
  if (part === undefined || part.kind === 'rest') return undefined;
  return part.kind === 'literal' ? part.text : part.segments;
}

/** One look-up. */
class Search {
  /** The number of the first entry that matches path and method. */
  best = Number.POSITIVE_INFINITY;
  /** Entries that match only the path, collected while none lower matches both. */
  readonly others: number[] = [];
  readonly #entries: readonly RouteEntry<unknown>[];
  readonly #method: string;
  readonly #segments: readonly string[];

  constructor(entries: readonly RouteEntry<unknown>[], method: string, segments: readonly string[]) {
    this.#entries = entries;
    this.#method = method;
    this.#segments = segments;
  }

  visit(node: RouteNode, at: number): void {
    if (node.first >= this.best) return;
    for (const number of node.entries) this.#offer(number);
    const literal = node.literals?.get(this.#segments[at] ?? '');
    if (literal !== undefined) this.visit(literal, at + 1);
    if (node.one !== undefined) this.visit(node.one, at + 1);
    if (node.two !== undefined) this.visit(node.two, at + 2);
  }

  #offer(number: number): void {
    const entry = this.#entries[number];
    if (number >= this.best || entry === undefined || !fits(entry.pattern.parts, this.#segments)) return;
    if (entry.methods.includes(this.#method)) this.best = number;
    else this.others.push(number);
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

/** The parameters of a path that matches. */
function paramsOf(pattern: PathPattern, segments: readonly string[]): RouteParams {
  const params: Record<string, string> = Object.create(null);
  let at = 0;
  for (const part of pattern.parts) {
    if (part.kind === 'param') {
      const first = segments[at] ?? '';
      params[part.name] = part.segments === 1 ? first : `${first}/${segments[at + 1]}`;
      at += part.segments;
    } else {
      at += 1;
    }
  }
  return params;
}
