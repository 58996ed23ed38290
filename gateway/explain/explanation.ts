/** Explains step by step why a request is admitted or refused. */

import { type Denial, isDenial, type Step } from '../core/denial.ts';
import type { Admission, Decision, Trail } from '../decide.ts';
import type { Policy } from '../policy/policy.ts';
import { refusal } from '../refuse.ts';
import { describeStep, rulePlace } from './describe-step.ts';
import type { HypotheticalRequest } from './hypothetical-request.ts';
import { nearestChange } from './nearest-change.ts';
import type { Decided, Rehearsal } from './rehearsal.ts';

/** The steps of a decision, in order. */
const STEPS = [
  ...(['head', 'route', 'client', 'allowlist', 'certificate'] as const),
  ...(['token', 'scope', 'claims', 'limits'] as const),
];

export interface ExplainedStep {
  readonly step: Step;
  /** `shadowed`: would have refused if the route were not in shadow mode. */
  readonly verdict: 'passed' | 'refused' | 'shadowed' | 'not reached';
  /** What was examined and found, one text per line. */
  readonly says: readonly string[];
}

/** What the caller would get. */
export interface ExplainedAnswer {
  readonly status: number;
  readonly code: string;
  /** Each as `name: value`. */
  readonly fields: readonly string[];
  readonly body: unknown;
}

/** Plain data: what `--json` prints. */
export interface Explanation {
  readonly request: string;
  readonly time: string;
  readonly verdict: 'admitted' | 'refused';
  readonly tenant?: string;
  readonly route?: string;
  readonly steps: readonly ExplainedStep[];
  /** `file:line` of the rule that refused, or would have. */
  readonly decidedAt?: string;
  /** For the operator only; it is never part of an answer. */
  readonly cause?: string;
  readonly answer?: ExplainedAnswer;
  /** Where an admitted request goes. */
  readonly upstream?: { readonly name: string; readonly nodes: readonly string[] };
  /** Changes to the request that, made together, would let it pass. */
  readonly wouldPassWith?: readonly string[];
  /** How the request ended according to the log line, if the denial code differs. */
  readonly recorded?: Outcome;
}

/** How a request ended; without a code it was not refused. */
export interface Outcome {
  readonly status: number;
  readonly code?: string;
}

/** `recorded`: how the request ended, if it comes from the access log. */
export async function explainRequest(
  rehearsal: Rehearsal,
  request: HypotheticalRequest,
  recorded?: Outcome,
): Promise<Explanation> {
  const { policy } = rehearsal;
  const decided = await rehearsal.decide(request);
  const { decision, trail } = decided;
  const objection = isDenial(decision) ? decision : decision.shadowed;
  const wouldPassWith = objection && (await nearestChange(rehearsal, request, decided));
  return {
    request: `${request.method} ${request.target} at ${request.serverName}`,
    time: new Date(request.nowMs).toISOString(),
    verdict: isDenial(decision) ? 'refused' : 'admitted',
    ...(trail.tenant !== undefined && { tenant: trail.tenant.name }),
    ...(trail.route !== undefined && { route: trail.route.name }),
    steps: STEPS.map((step) => explainStep(policy, request, decided, step)),
    ...(objection !== undefined && placed(objection, trail)),
    ...(isDenial(decision) ? { answer: answerTo(decision, trail) } : { upstream: goalOf(decision) }),
    ...(wouldPassWith !== undefined && { wouldPassWith }),
    ...(recorded !== undefined && otherwise(decision, recorded)),
  };
}

function otherwise(decision: Decision, { status, code }: Outcome): Pick<Explanation, 'recorded'> {
  const now = isDenial(decision) ? decision.code : undefined;
  return code === now ? {} : { recorded: { status, ...(code !== undefined && { code }) } };
}

function placed(objection: Denial, trail: Trail): Pick<Explanation, 'decidedAt' | 'cause'> {
  const decidedAt = rulePlace(objection, trail);
  return {
    ...(decidedAt !== undefined && { decidedAt }),
    ...(objection.cause !== undefined && { cause: objection.cause }),
  };
}

function explainStep(
  policy: Policy,
  request: HypotheticalRequest,
  decided: Decided,
  step: Step,
): ExplainedStep {
  const { decision, trail } = decided;
  const refused = isDenial(decision) ? decision : undefined;
  const objections = [trail.shadowed, refused].filter((each) => each !== undefined);
  const [first] = objections;
  const own = objections.find((each) => each.step === step);
  // In shadow mode the limits are checked even after a denial.
  const passed = first === undefined || comesBefore(step, first.step) || (step === 'limits' && !refused);
  if (own === undefined && !passed) return { step, verdict: 'not reached', says: [] };
  const says = describeStep(step, policy, request, decided);
  if (own === undefined) return { step, verdict: 'passed', says };
  return { step, verdict: own === refused ? 'refused' : 'shadowed', says: [...says, own.detail] };
}

function comesBefore(step: Step, other: Step): boolean {
  const order: readonly Step[] = STEPS;
  return order.indexOf(step) < order.indexOf(other);
}

function answerTo(denial: Denial, { tenant }: Trail): ExplainedAnswer {
  const { status, fields, body } = refusal(denial, {
    requestId: 'explained',
    ...(tenant !== undefined && { realm: tenant.name }),
  });
  const lines = fields.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${fields[at + 1]}`] : []));
  return { status, code: denial.code, fields: lines, body: JSON.parse(body.toString()) };
}

function goalOf({ route: { upstream } }: Admission): NonNullable<Explanation['upstream']> {
  return { name: upstream.name, nodes: upstream.nodes.map(({ url }) => url) };
}
