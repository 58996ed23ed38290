/** Faults of a policy, and where they are. */

export interface PolicyFault {
  readonly file: string;
  /** From 1; 1:1 for the whole file. */
  readonly line: number;
  readonly column: number;
  /** `routes[1].match.methods`; empty for the whole file. */
  readonly path: string;
  readonly problem: string;
  readonly expected?: string;
}

/** `file:line:column path: what is wrong (what is expected)`. */
export function formatFault(fault: PolicyFault): string {
  const { file, line, column, path, problem, expected } = fault;
  const place = path === '' ? '' : ` ${path}`;
  return `${file}:${line}:${column}${place}: ${problem}${expected === undefined ? '' : ` (expected ${expected})`}`;
}

/** A fault of the whole file. */
export function fileFault(file: string, problem: string, expected?: string): PolicyFault {
  return { file, line: 1, column: 1, path: '', problem, ...(expected !== undefined && { expected }) };
}

/**
 * Groups the faults by file, in the order files first appear, and sorts those of a file by line and column. Removes
 * duplicates, which occur when two tenants read the same list.
 */
export function inFileOrder(faults: readonly PolicyFault[]): readonly PolicyFault[] {
  const files = [...new Set(faults.map(({ file }) => file))];
  const once = new Map(faults.map((fault) => [formatFault(fault), fault]));
  return [...once.values()].sort(
    (a, b) => files.indexOf(a.file) - files.indexOf(b.file) || a.line - b.line || a.column - b.column,
  );
}

/** Faults reported for one file, at most; after fixing this many, an operator checks it again. */
const MAX_FAULTS = 100;

/** The first of a file's faults, and one that says where the omitted ones begin and how many they are. */
export function firstFaults(faults: readonly PolicyFault[]): readonly PolicyFault[] {
  if (faults.length <= MAX_FAULTS) return faults;
  const ordered = inFileOrder(faults);
  const next = ordered[MAX_FAULTS];
  if (next === undefined) return ordered;
  const { file, line, column } = next;
  const problem = `${ordered.length - MAX_FAULTS} more faults from here on`;
  return [...ordered.slice(0, MAX_FAULTS), { file, line, column, path: '', problem }];
}
