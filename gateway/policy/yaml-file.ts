/** A YAML file with the positions of its values, so that every fault can point at its place. */

import {
  type Document,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  type ParsedNode,
  parseDocument,
  visit,
  type YAMLMap,
} from 'yaml';
import { fileFault, firstFaults, type PolicyFault } from '../core/fault.ts';
import { MIB } from '../core/units.ts';
import { formatPath, type Path, type Places, pathWithin } from './places.ts';

/** Receives the values of a file in order: `begin`, the values within, `end`. */
export interface ValueTracer {
  /** `step` is a key or a list index, undefined for the whole file. The result is passed to the matching `end`. */
  begin(step: string | number | undefined, line: number): number;
  end(row: number): void;
}

const MAX_BYTES = 5 * MIB;
/** Keys that could reach the prototype of an object (prototype pollution). */
const UNSAFE_KEYS: ReadonlySet<unknown> = new Set(['__proto__', 'constructor', 'prototype']);

/** Replacements for messages of the parser, by error code. */
const WORDING: ReadonlyMap<string, string> = new Map([
  ['MULTIPLE_DOCS', 'a second document begins here'],
  ['RESOURCE_EXHAUSTION', 'is nested too deeply'],
]);

/** YAML 1.2 core schema. Duplicate keys, aliases, unknown tags and keys that are not text are faults. */
export class YamlFile implements Places {
  readonly file: string;
  /** Faults of the YAML itself; while there are any, `value` is undefined. */
  readonly faults: readonly PolicyFault[];
  readonly value: unknown;
  readonly folder: string | undefined;
  readonly #document: Document.Parsed<ParsedNode>;
  readonly #lines = new LineCounter();
  /** Cache: the pairs by key of each mapping that was looked into. */
  readonly #pairs = new Map<YAMLMap, ReadonlyMap<unknown, Pair>>();

  /** `folder`, if given, is the base of paths in the text, and they must not leave it. */
  constructor(file: string, text: string, folder?: string) {
    this.file = file;
    this.folder = folder;
    const small = text.length <= MAX_BYTES;
    this.#document = parseDocument(small ? text : '', {
      lineCounter: this.#lines,
      // Pretty errors quote their line, which may be the whole file.
      prettyErrors: false,
      schema: 'core',
      merge: false,
      // The parser's own check is quadratic and takes minutes for a large file; `#unsafeNodes` needs one pass.
      uniqueKeys: false,
      resolveKnownTags: false,
    });
    const tooLarge = small ? [] : [fileFault(file, `the file is larger than ${MAX_BYTES} bytes`)];
    this.faults = firstFaults([...tooLarge, ...this.#syntaxFaults(), ...this.#unsafeNodes()]);
    this.value = this.faults.length === 0 ? this.#document.toJS({ maxAliasCount: 0 }) : undefined;
  }

  pathOf(written: string): string | undefined {
    return pathWithin(this.file, this.folder, written);
  }

  has(path: Path): boolean {
    const [last] = path.slice(-1);
    if (last === undefined) return true;
    const around = this.#node(path.slice(0, -1));
    return isMap(around) ? this.#pairsOf(around).has(last) : isSeq(around) && around.has(last);
  }

  keys(path: Path): readonly string[] {
    const map = this.#node(path);
    return isMap(map) ? map.items.map((item) => String(item.key)) : [];
  }

  at(path: Path, problem: string, expected?: string): PolicyFault {
    return this.#fault(this.#offset(path), path, problem, expected);
  }

  /** Passes every value to the tracer, in file order. */
  trace(tracer: ValueTracer): void {
    this.#trace(this.#document.contents, undefined, 1, tracer);
  }

  /** An empty value gets the line of the mapping or list around it. */
  #trace(node: Node | null, step: string | number | undefined, around: number, tracer: ValueTracer): void {
    const line = node?.range ? Math.max(1, this.#lines.linePos(node.range[0]).line) : around;
    const row = tracer.begin(step, line);
    if (isMap(node)) {
      for (const { key, value } of node.items) this.#trace(value as Node | null, String(key), line, tracer);
    } else if (isSeq(node)) {
      for (const [index, item] of node.items.entries()) this.#trace(item as Node | null, index, line, tracer);
    }
    tracer.end(row);
  }

  /** Returns a fault at a key instead of its value. */
  atKey(path: Path, key: string, problem: string, expected?: string): PolicyFault {
    const map = this.#node(path);
    const pair = isMap(map) ? this.#pairsOf(map).get(key) : undefined;
    const at = isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
    return this.#fault(at ?? this.#offset(path), [...path, key], problem, expected);
  }

  #syntaxFaults(): PolicyFault[] {
    const { errors, warnings } = this.#document;
    // Errors after the parser has given up are only consequences.
    const exhausted = errors.find(({ code }) => code === 'RESOURCE_EXHAUSTION');
    return (exhausted === undefined ? [...errors, ...warnings] : [exhausted]).map((error) =>
      this.#fault(error.pos[0], [], WORDING.get(error.code) ?? error.message),
    );
  }

  #unsafeNodes(): PolicyFault[] {
    const faults: PolicyFault[] = [];
    visit(this.#document, {
      Alias: (_, node) => {
        faults.push(
          this.#fault(node.range?.[0] ?? 0, [], 'aliases are not allowed', 'every value written out'),
        );
      },
      Map: (_, map) => {
        for (const fault of this.#unsafeKeys(map)) faults.push(fault);
      },
    });
    return faults;
  }

  #unsafeKeys(map: YAMLMap): PolicyFault[] {
    const seen = new Set<string>();
    return map.items.flatMap((item) => {
      const key = isScalar(item.key) ? item.key : undefined;
      const problem = keyProblem(key?.value, seen);
      return problem === undefined ? [] : [this.#fault(key?.range?.[0] ?? 0, [], problem)];
    });
  }

  #node(path: Path): Node | undefined {
    let node: unknown = this.#document.contents;
    for (const step of path) {
      if (isMap(node)) node = this.#pairsOf(node).get(step)?.value;
      else node = isSeq(node) ? node.get(step, true) : undefined;
    }
    return isNode(node) ? node : undefined;
  }

  #pairsOf(map: YAMLMap): ReadonlyMap<unknown, Pair> {
    const known = this.#pairs.get(map);
    if (known !== undefined) return known;
    const pairs = new Map(map.items.map((pair) => [isScalar(pair.key) ? pair.key.value : pair.key, pair]));
    this.#pairs.set(map, pairs);
    return pairs;
  }

  #offset(path: Path): number {
    for (let length = path.length; length >= 0; length -= 1) {
      const range = this.#node(path.slice(0, length))?.range;
      if (range) return range[0];
    }
    return 0;
  }

  #fault(offset: number, path: Path, problem: string, expected?: string): PolicyFault {
    const { line, col } = this.#lines.linePos(offset);
    const place = {
      file: this.file,
      line: Math.max(1, line),
      column: Math.max(1, col),
      path: formatPath(path),
    };
    return { ...place, problem, ...(expected !== undefined && { expected }) };
  }
}

function keyProblem(key: unknown, seen: Set<string>): string | undefined {
  if (typeof key !== 'string') return 'the key is not text';
  if (UNSAFE_KEYS.has(key)) return `the key ${key} is not allowed`;
  if (seen.has(key)) return `duplicate key ${key}`;
  seen.add(key);
  return undefined;
}
