/** `patchgate node`: the reference sync node on its own. */

import { basename } from 'node:path';
import { type Command, optional, parseHostPort, required, UsageError } from './command.ts';

export const node: Command = {
  name: 'node',
  summary: 'run the reference sync node',
  usage:
    '--root FOLDER [--listen 127.0.0.1:7001] [--model ID --from FILE.safetensors|FOLDER] [--keep VERSIONS]',
  options: {
    root: { type: 'string' },
    listen: { type: 'string', default: '127.0.0.1:7001' },
    model: { type: 'string' },
    from: { type: 'string' },
    keep: { type: 'string' },
  },
  async run(values, terminal) {
    const root = required(values, 'root');
    const from = optional(values, 'from');
    const model = optional(values, 'model') ?? (from && basename(from, '.safetensors'));
    if (from === undefined && values['model'] !== undefined) throw new UsageError('--model requires --from');
    const keep = optional(values, 'keep');
    if (keep !== undefined && !/^[1-9][0-9]{0,5}$/.test(keep))
      throw new UsageError(`--keep: expected a number from 1 to 999999, got ${keep}`);
    const { createModel } = await import('../sync-node/create-model.ts');
    const { startSyncNode } = await import('../sync-node/sync-node.ts');
    if (from !== undefined && model !== undefined) await createModel(root, model, from);
    const running = await startSyncNode({
      root,
      ...parseHostPort(required(values, 'listen')),
      ...(keep !== undefined && { keep: Number(keep) }),
    });
    terminal.write(`sync node at ${running.url}, models in ${root}\n`);
    await new Promise<void>((resolve) => {
      terminal.onSignal('SIGTERM', resolve);
      terminal.onSignal('SIGINT', resolve);
    });
    await running.close();
    return 0;
  },
};
