/** Formats an explanation as text. */

import type { ExplainedStep, Explanation } from './explanation.ts';

const STEP_WIDTH = 12;
const VERDICT_WIDTH = 12;

/** Ends with a newline. */
export function renderExplanation(explanation: Explanation): string {
  const { request, time, steps } = explanation;
  const end = [...renderEnd(explanation), ...renderRecord(explanation)];
  const lines = [request, time, '', ...steps.flatMap(renderStep), '', ...end];
  return `${lines.join('\n')}\n`;
}

function renderStep({ step, verdict, says }: ExplainedStep, index: number): readonly string[] {
  const start = `${String(index).padStart(2)} ${step.padEnd(STEP_WIDTH)}${verdict.padEnd(VERDICT_WIDTH)}`;
  const [first = '', ...rest] = says;
  const blank = ' '.repeat(start.length);
  return [`${start}${first}`.trimEnd(), ...rest.map((line) => `${blank}${line}`)];
}

function renderEnd({
  verdict,
  answer,
  upstream,
  cause,
  decidedAt,
  wouldPassWith,
}: Explanation): readonly string[] {
  const why = [
    ...(decidedAt === undefined ? [] : [`  by ${decidedAt}`]),
    ...(cause === undefined ? [] : [`  logged cause: ${cause}`]),
  ];
  const change =
    wouldPassWith === undefined || wouldPassWith.length === 0
      ? []
      : [`would pass with ${wouldPassWith.join('; and ')}`];
  if (verdict === 'admitted') {
    const shadowed =
      why.length > 0
        ? ['  only because the route is in shadow mode; otherwise refused:', ...why, ...change]
        : [];
    return [`→ admitted, to upstream ${upstream?.name}: ${upstream?.nodes.join(', ')}`, ...shadowed];
  }
  return [
    `→ ${answer?.status} ${answer?.code}`,
    ...(answer?.fields ?? []).map((field) => `  ${field}`),
    `  ${JSON.stringify(answer?.body)}`,
    ...why,
    ...change,
  ];
}

function renderRecord({ recorded }: Explanation): readonly string[] {
  if (recorded === undefined) return [];
  const { status, code } = recorded;
  return [
    `the log line says ${status}${code === undefined ? '' : ` ${code}`}: the counts of limits, the body, and the nodes and lists of that time are not reproduced`,
  ];
}
