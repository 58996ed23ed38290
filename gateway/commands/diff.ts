/** `patchgate diff`: which recorded requests two policies decide differently. */

import { type Command, required } from './command.ts';

export const diff: Command = {
  name: 'diff',
  summary:
    'replay an access log under two policies and show which decisions change, and why; exit 1 if any does',
  usage: '--old FOLDER --new FOLDER --replay access.jsonl',
  options: {
    old: { type: 'string' },
    new: { type: 'string' },
    replay: { type: 'string' },
  },
  async run(values, terminal) {
    const [old, next, replay] = ['old', 'new', 'replay'].map((name) => required(values, name));
    const { replayUnderBoth } = await import('./replay.ts');
    return (await replayUnderBoth({ old: old ?? '', next: next ?? '', replay: replay ?? '' }, terminal))
      ? 0
      : 1;
  },
};
