/** Decides hypothetical requests with the same function as requests that arrive. */

import { isDenial } from '../core/denial.ts';
import type { Facts } from '../core/facts.ts';
import { type Decision, decide, type Trail } from '../decide.ts';
import { Llhttp } from '../http1/llhttp.ts';
import type { Policy } from '../policy/policy.ts';
import { factsOf, type HypotheticalRequest } from './hypothetical-request.ts';

/** A decision, with everything that was found on the way to it. */
export interface Decided {
  /** Absent if the head was refused. */
  readonly facts?: Facts;
  readonly trail: Trail;
  readonly decision: Decision;
}

/** Decides any number of requests under one policy, with one parser for their heads. */
export class Rehearsal {
  readonly policy: Policy;
  readonly #llhttp = new Llhttp();

  constructor(policy: Policy) {
    this.policy = policy;
  }

  async decide(request: HypotheticalRequest): Promise<Decided> {
    const trail: Trail = {};
    const facts = factsOf(this.policy, request, this.#llhttp);
    if (isDenial(facts)) return { trail, decision: facts };
    return { facts, trail, decision: await decide(this.policy, facts, trail) };
  }
}
