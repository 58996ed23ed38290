/** Decides the requests of an access log under two policies, and prints where they differ. */

import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { AccessKeeper } from '../certificates/access-keeper.ts';
import { isDenial } from '../core/denial.ts';
import { messageOf } from '../core/error-text.ts';
import { formatFault } from '../core/fault.ts';
import { type RecordedRequest, readAccessLine } from '../explain/access-line.ts';
import { rulePlace } from '../explain/describe-step.ts';
import { type Decided, Rehearsal } from '../explain/rehearsal.ts';
import { loadPolicy } from '../policy/load.ts';
import { PolicySources } from '../policy/sources.ts';
import { type Terminal, UsageError } from './command.ts';

/** The two policy folders, and the access log to replay. */
export interface ReplayOptions {
  readonly old: string;
  readonly next: string;
  readonly replay: string;
}

/** Resolves to whether both policies decide every request alike; false also if a policy or the log has a fault. */
export async function replayUnderBoth(options: ReplayOptions, terminal: Terminal): Promise<boolean> {
  const sources = new PolicySources({ mode: 'follow', accesses: new AccessKeeper() });
  try {
    const before = await rehearse(options.old, sources, terminal);
    const after = await rehearse(options.next, sources, terminal);
    if (before === undefined || after === undefined) return false;
    for (const fault of sources.faults) terminal.warn(`${formatFault(fault)}\n`);
    const replay = await replayLog(options.replay, before, after);
    print(replay, terminal);
    return replay.changes.size === 0 && replay.unreadable === undefined;
  } finally {
    sources.close();
  }
}

/** Resolves to undefined if the policy has faults. Lists are as they are now, also those in etcd and Redis. */
async function rehearse(
  folder: string,
  sources: PolicySources,
  terminal: Terminal,
): Promise<Rehearsal | undefined> {
  const { policy, faults: fileFaults, etcdFaults } = await loadPolicy(folder, Date.now(), { sources });
  await sources.refresh();
  const faults = [...fileFaults, ...etcdFaults];
  for (const fault of faults) terminal.warn(`${formatFault(fault)}\n`);
  return policy === undefined || faults.length > 0 ? undefined : new Rehearsal(policy);
}

/** Decisions that change in the same way. */
interface Change {
  readonly words: string;
  /** The first request with this change. */
  readonly example: string;
  readonly why: string | undefined;
  count: number;
}

interface Replay {
  requests: number;
  /** Lines of requests whose head was refused: no policy decides those. */
  headless: number;
  /** Refused requests that the old policy decides differently: refused by a limit, another policy or an older list. */
  otherwise: number;
  /** Place and fault of the first invalid line, where the replay stops. */
  unreadable?: string;
  readonly changes: Map<string, Change>;
}

async function replayLog(file: string, before: Rehearsal, after: Rehearsal): Promise<Replay> {
  const replay: Replay = { requests: 0, headless: 0, otherwise: 0, changes: new Map() };
  const lines = createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY });
  let number = 0;
  try {
    for await (const text of lines) {
      number += 1;
      if (text.trim() === '') continue;
      const recorded = readAccessLine(text);
      if (typeof recorded === 'string') {
        replay.unreadable = `${file}:${number}: ${recorded}`;
        return replay;
      }
      if (recorded === undefined) replay.headless += 1;
      else await compare(replay, recorded, `${file}:${number}`, before, after);
    }
  } catch (error) {
    throw new UsageError(`--replay: ${messageOf(error)}`);
  }
  return replay;
}

async function compare(
  replay: Replay,
  { request, code, shadowCode }: RecordedRequest,
  place: string,
  before: Rehearsal,
  after: Rehearsal,
): Promise<void> {
  replay.requests += 1;
  const [old, now] = [await before.decide(request), await after.decide(request)];
  const [was, is] = [
    outcomeOf(old, request.token === undefined),
    outcomeOf(now, request.token === undefined),
  ];
  const recordedCode = code ?? shadowCode;
  if (recordedCode !== undefined && was.code !== recordedCode) replay.otherwise += 1;
  if (was.words === is.words) return;
  const words = `${was.words} → ${is.words}`;
  const known = replay.changes.get(words);
  if (known !== undefined) {
    known.count += 1;
    return;
  }
  const example = `${request.method} ${request.target} of ${request.client ?? request.peer.text} (${place})`;
  replay.changes.set(words, { words, example, why: whyOf(now) ?? whyOf(old), count: 1 });
}

/** The log has no token that was not verified: without one, it is unknown whether a requirement would be met. */
function outcomeOf(
  { decision, trail }: Decided,
  tokenless: boolean,
): { readonly words: string; readonly code?: string } {
  const refused = isDenial(decision) ? decision : decision.shadowed;
  const route = trail.route === undefined ? '' : ` by ${trail.route.name}`;
  if (refused === undefined) return { words: `admitted${route}` };
  const { code } = refused;
  const what = tokenless && code === 'token-missing' ? 'token required' : code;
  return { words: `${isDenial(decision) ? '' : 'in shadow '}${what}${route}`, code };
}

function whyOf({ decision, trail }: Decided): string | undefined {
  const refused = isDenial(decision) ? decision : decision.shadowed;
  if (refused === undefined) return undefined;
  const place = rulePlace(refused, trail);
  const cause = refused.cause === undefined ? '' : ` ${refused.cause}.`;
  return `${refused.detail}${cause}${place === undefined ? '' : ` (${place})`}`;
}

function print({ requests, headless, otherwise, unreadable, changes }: Replay, terminal: Terminal): void {
  if (unreadable !== undefined) terminal.warn(`${unreadable}\n`);
  const changed = [...changes.values()].reduce((sum, { count }) => sum + count, 0);
  terminal.write(
    `${requests} ${requests === 1 ? 'request' : 'requests'} replayed, ${changed} decided differently\n`,
  );
  if (headless > 0) terminal.write(`  ${headless} skipped, their heads could not be read\n`);
  if (otherwise > 0)
    terminal.write(
      `  ${otherwise} refused for reasons the old policy does not give: limits, streams, or lists at that time\n`,
    );
  for (const { count, words, example, why } of [...changes.values()].sort((a, b) => b.count - a.count)) {
    terminal.write(`  ${count} × ${words}\n      ${example}\n${why === undefined ? '' : `      ${why}\n`}`);
  }
}
