/** Finds the route of a method and path: the first that was written and fits both, at the cost of a few. */

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

/** The table over the entries; among those that fit, the first in their order counts. */
export function buildRouteTable<R>(entries: Iterable<RouteEntry<R>>): RouteTable<R> {
  return new RouteTree([...entries]);
}

/** Where patterns part: each edge takes one or two segments, so a node stands at one depth of a path alone. */
interface RouteNode {
  /** Numbers of the entries that part no further: the rest of their patterns is compared part by part. */
  readonly entries: number[];
  literals?: Map<string, RouteNode>;
  /** Behind a parameter of one segment, and of two. */
  one?: RouteNode;
  two?: RouteNode;
  /** The least number at or below this node: what is not less than one found already need not be looked at. */
  first: number;
}

/**
 * A tree over the segments of the patterns, as deep as it takes to tell them apart. A look-up visits the nodes that a
 * path can lead to: a handful, however many routes there are, and each once.
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

/** What stands between the slashes. A path is split once a request: `split` remembers all it ever split, at a cost. */
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

/** Values that are the same become one: what a thousand routes share stays at hand. */
function share<T>(value: T, shared: Map<string, T>): T {
  const key = JSON.stringify(value);
  const known = shared.get(key) ?? value;
  shared.set(key, known);
  return known;
}

/** The node of these entries, whose patterns are the same up to part `depth`. */
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

/** What a part takes of a path: a segment of that text, or any one or two; nothing where a pattern ends. */
function keyOf(part: PatternPart | undefined): string | 1 | 2 | undefined {
  if (part === undefined || part.kind === 'rest') return undefined;
  return part.kind === 'literal' ? part.text : part.segments;
}

/** One look-up. */
class Search {
  /** The number of the first entry that fits path and method. */
  best = Number.POSITIVE_INFINITY;
  /** Entries that fit the path alone, as long as none fits both. */
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

/** The parameters of a path that fits. */
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
