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
  /** Numbers of the entries that end here, and of those that take all that is left. */
  readonly ends: number[];
  readonly rests: number[];
  readonly literals: Map<string, RouteNode>;
  /** Behind a parameter of one segment, and of two. */
  one?: RouteNode;
  two?: RouteNode;
  /** The least number at or below this node: what is not less than one found already need not be looked at. */
  first: number;
}

/**
 * A tree over the segments of the patterns. A look-up visits the nodes that a path can lead to: a handful, however
 * many routes there are, and each once.
 */
class RouteTree<R> implements RouteTable<R> {
  readonly entries: readonly RouteEntry<R>[];
  readonly #root = newNode();

  constructor(entries: readonly RouteEntry<R>[]) {
    this.entries = entries;
    for (const [number, { pattern }] of entries.entries()) insert(this.#root, pattern.parts, number);
  }

  match(method: string, path: string): RouteMatch<R> {
    const segments = path === '/' ? [] : path.slice(1).split('/');
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

function newNode(): RouteNode {
  return { ends: [], rests: [], literals: new Map(), first: Number.POSITIVE_INFINITY };
}

function insert(root: RouteNode, parts: readonly PatternPart[], number: number): void {
  let node = root;
  node.first = Math.min(node.first, number);
  for (const part of parts) {
    if (part.kind === 'rest') {
      node.rests.push(number);
      return;
    }
    node = childFor(node, part);
    node.first = Math.min(node.first, number);
  }
  node.ends.push(number);
}

function childFor(node: RouteNode, part: Exclude<PatternPart, { kind: 'rest' }>): RouteNode {
  if (part.kind === 'param') {
    const side = part.segments === 1 ? 'one' : 'two';
    node[side] ??= newNode();
    return node[side];
  }
  const known = node.literals.get(part.text) ?? newNode();
  node.literals.set(part.text, known);
  return known;
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
    const segments = this.#segments;
    this.#offer(node.rests);
    if (at === segments.length) {
      this.#offer(node.ends);
      return;
    }
    const literal = node.literals.get(segments[at] ?? '');
    if (literal !== undefined) this.visit(literal, at + 1);
    if (node.one !== undefined) this.visit(node.one, at + 1);
    if (node.two !== undefined && at + 2 <= segments.length) this.visit(node.two, at + 2);
  }

  #offer(numbers: readonly number[]): void {
    for (const number of numbers) {
      if (number >= this.best) return;
      if (this.#entries[number]?.methods.includes(this.#method) === true) this.best = number;
      else this.others.push(number);
    }
  }
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
