/** The README's drawing of a request, and what the source says of the same steps. */

import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type DenialCode, denials, type Step } from '../gateway/core/denial.ts';
import { patchFaults } from '../gateway/patch/fault.ts';

const gateway = fileURLToPath(new URL('../gateway/', import.meta.url));

/** A row of the drawing: its lines together. */
export interface DrawnStep {
  /** `route`, `TCP accept`. */
  readonly name: string;
  readonly files: readonly string[];
  readonly statuses: readonly number[];
}

const NAME = /^ {0,2}(?:\d )?([A-Za-z]+(?: [a-z]+)?)(?= {2})/;

/** The rows of the drawing in a document; a line without a name goes on with the row above. */
export function drawnSteps(text: string): readonly DrawnStep[] {
  const [, drawing = ''] = /<!-- drawing: request -->\n\n```\n([\s\S]*?)```/.exec(text) ?? [];
  const rows: { name: string; text: string }[] = [];
  for (const line of drawing.split('\n')) {
    const [, name] = NAME.exec(line) ?? [];
    const last = rows.at(-1);
    if (name !== undefined) rows.push({ name, text: line });
    else if (last !== undefined) last.text += `\n${line}`;
  }
  return rows.map(({ name, text: lines }) => ({
    name,
    files: lines.match(/[a-z0-9-]+(?:\/[a-z0-9-]+)*\.ts\b/g) ?? [],
    statuses: sorted((lines.match(/\b[45]\d\d\b/g) ?? []).map(Number)),
  }));
}

/** The steps of `deny` by the rows that draw them; the audit log stands before the node, and is refused as its step. */
export const STEP_OF_ROW: ReadonlyMap<string, Step> = new Map<string, Step>([
  ...(
    ['head', 'route', 'client', 'allowlist', 'certificate', 'token', 'scope', 'claims', 'limits'] as const
  ).map((step) => [step, step] as const),
  ['audit', 'node'],
  ['node', 'node'],
  ['stream', 'stream'],
]);

/** What `deny` is given where the source has a variable for the code. */
const COMPUTED: Readonly<Partial<Record<Step, readonly DenialCode[]>>> = {
  token: ['token-malformed', 'token-invalid', 'token-expired', 'token-unbound', 'token-revoked'],
  limits: ['rate-limited', 'concurrency-limited', 'bytes-exhausted', 'limits-unavailable'],
  node: ['node-failed', 'node-timeout'],
  stream: ['bad-request', 'stream-idle'],
};

/** Statuses in place of the table's: see `denials`. */
const INSTEAD: Readonly<Partial<Record<Step, readonly number[]>>> = {
  head: [414, 417, 501],
  stream: Object.values(patchFaults).map(({ status }) => status),
};

/** What one step can refuse with. */
export interface MadeStep {
  readonly files: ReadonlySet<string>;
  readonly statuses: readonly number[];
  /** A variable for the code that `COMPUTED` does not explain. */
  readonly unexplained: readonly string[];
}

const DENY = /\bdeny\(\s*'([a-z]+)',\s*(?:'([a-z-]+)'|([\w.]+))/g;

/** The statuses of every step, by the calls of `deny` in the source. */
export function madeSteps(): ReadonlyMap<string, MadeStep> {
  const calls = globSync('**/*.ts', { cwd: gateway }).flatMap((file) =>
    [...readFileSync(`${gateway}${file}`, 'utf8').matchAll(DENY)].map(([, step = '', code, variable]) => ({
      file,
      step: step as Step,
      codes: code === undefined ? (COMPUTED[step as Step] ?? []) : [code as DenialCode],
      variable,
    })),
  );
  return new Map(
    [...Map.groupBy(calls, ({ step }) => step)].map(([step, each]) => [
      step,
      {
        files: new Set(each.map(({ file }) => file)),
        statuses: sorted([
          ...each.flatMap(({ codes }) => codes.map((code) => denials[code].status)),
          ...(INSTEAD[step] ?? []),
        ]),
        unexplained: each.flatMap(({ file, codes, variable }) =>
          codes.length === 0 ? [`${file}: ${variable}`] : [],
        ),
      },
    ]),
  );
}

function sorted(statuses: readonly number[]): readonly number[] {
  return [...new Set(statuses)].sort((a, b) => a - b);
}
