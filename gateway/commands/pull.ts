/** `patchgate pull`: downloads the weights of a model, whole or as the patches since a version. */

import type { PullOptions } from '../push/pull.ts';
import { type Command, type OptionValues, optional, required } from './command.ts';
import { GATEWAY_USAGE, gatewayAddress, gatewayOptions, wholeNumber } from './gateway-options.ts';

export const pull: Command = {
  name: 'pull',
  summary:
    'download the weights of a model, or the patches since a version; resumes by itself when interrupted',
  usage:
    `--from URL --model ID --out FILE.safetensors ${GATEWAY_USAGE}\n` +
    '         [--version N] [--base FILE.safetensors] [--since N]',
  options: {
    from: { type: 'string' },
    ...gatewayOptions,
    out: { type: 'string' },
    version: { type: 'string' },
    base: { type: 'string' },
    since: { type: 'string' },
  },
  async run(values, terminal) {
    const options = await pullOptions(values);
    const { pullModel } = await import('../push/pull.ts');
    const { createProgress } = await import('../push/progress.ts');
    const { TransferError } = await import('../push/transfer-error.ts');
    const { write, isTerminal, columns } = terminal;
    const onProgress = createProgress({ write, isTerminal, columns, nowMs: () => performance.now() });
    try {
      const { version, digest, patches, bytesReceived, resumedAt } = await pullModel({
        ...options,
        onProgress,
      });
      for (const at of resumedAt) write(`resumed at byte ${at}\n`);
      const how = patches > 0 ? `in ${patches} ${patches === 1 ? 'patch' : 'patches'} ` : '';
      write(
        `version ${version}: ${bytesReceived} bytes received ${how}to ${options.outPath}, digest ${digest}\n`,
      );
      return 0;
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
      terminal.warn(`${error.message}\n`);
      return 1;
    }
  },
};

/** Without `--base`, the patches since `--since` are applied to the present content of `--out`. */
async function pullOptions(values: OptionValues): Promise<PullOptions> {
  const outPath = required(values, 'out');
  const since = wholeNumber(values, 'since');
  const version = wholeNumber(values, 'version');
  const basePath = optional(values, 'base') ?? (since === undefined ? undefined : outPath);
  return {
    ...(await gatewayAddress(values, 'from')),
    modelId: required(values, 'model'),
    outPath,
    ...(version !== undefined && { version }),
    ...(basePath !== undefined && { basePath }),
    ...(since !== undefined && { since }),
  };
}
