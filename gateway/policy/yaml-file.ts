/** A YAML file with the places of its values, so that every fault can be pointed at. */

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

/** Hears of the values of a file: each begins, those within it come, and it ends. */
export interface ValueTracer {
  /** Key or place in the list around it, `undefined` for the whole file; the answer is what its `end` is told with. */
  begin(step: string | number | undefined, line: number): number;
  end(row: number): void;
}

const MAX_BYTES = 5 * MIB;
/** Keys that would reach an object's own machinery. */
const UNSAFE_KEYS: ReadonlySet<unknown> = new Set(['__proto__', 'constructor', 'prototype']);

/** What the parser says in words of its own, in ours. */
const WORDING: ReadonlyMap<string, string> = new Map([
  ['MULTIPLE_DOCS', 'a second document begins here'],
  ['RESOURCE_EXHAUSTION', 'is nested too deeply'],
]);

/** YAML 1.2 core schema; repeated keys, aliases, tags nobody knows and keys that are not text are faults. */
export class YamlFile implements Places {
  readonly file: string;
  /** Faults of the YAML itself; while there are any, `value` is undefined. */
  readonly faults: readonly PolicyFault[];
  readonly value: unknown;
  readonly folder: string | undefined;
  readonly #document: Document.Parsed<ParsedNode>;
  readonly #lines = new LineCounter();
  /** Of each mapping that was asked for a key. */
  readonly #pairs = new Map<YAMLMap, ReadonlyMap<unknown, Pair>>();

  /** `folder`: in place of the file's own, and not to be left by a path in the text. */
  constructor(file: string, text: string, folder?: string) {
    this.file = file;
    this.folder = folder;
    const small = text.length <= MAX_BYTES;
    this.#document = parseDocument(small ? text : '', {
      lineCounter: this.#lines,
      // Every error would quote its line, which may be the whole file.
      prettyErrors: false,
      schema: 'core',
      merge: false,
      // Looking each key up among all before it takes minutes for a large file; `#unsafeNodes` does it in one pass.
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

  /** Tells of every value in its order. */
  trace(tracer: ValueTracer): void {
    this.#trace(this.#document.contents, undefined, 1, tracer);
  }

  /** What has no value of its own stands where the mapping around it does. */
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

  /** A fault at a key instead of its value. */
  atKey(path: Path, key: string, problem: string, expected?: string): PolicyFault {
    const map = this.#node(path);
    const pair = isMap(map) ? this.#pairsOf(map).get(key) : undefined;
    const at = isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
    return this.#fault(at ?? this.#offset(path), [...path, key], problem, expected);
  }

  #syntaxFaults(): PolicyFault[] {
    const { errors, warnings } = this.#document;
    // What the parser says after it gave up is an echo.
    const exhausted = errors.find(({ code }) => code === 'RESOURCE_EXHAUSTION');
    return (exhausted === undefined ? [...errors, ...warnings] : [exhausted]).map((error) =>
      this.#fault(error.pos[0], [], WORDING.get(error.code) ?? error.message),
    );
  }

  #unsafeNodes(): PolicyFault[] {
    const faults: PolicyFault[] = [];
    visit(this.#document, {
      Alias: (_, node) => {
        faults.push(this.#fault(node.range?.[0] ?? 0, [], 'an alias', 'every value written out'));
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
  if (typeof key !== 'string') return 'a key that is not text';
  if (UNSAFE_KEYS.has(key)) return `the key ${key} is not allowed`;
  if (seen.has(key)) return `the key ${key} stands here twice`;
  seen.add(key);
  return undefined;
}
