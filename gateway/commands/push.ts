/** `patchgate push`: sends the difference between two models through a gateway to a sync node. */

import type { ValueEncoding } from '../patch/layout.ts';
import type { PushOptions, PushPlan, PushResult } from '../push/push.ts';
import { type Command, type OptionValues, optional, required, type Terminal, UsageError } from './command.ts';
import { GATEWAY_USAGE, gatewayAddress, gatewayOptions, wholeNumber } from './gateway-options.ts';

const ENCODINGS: readonly ValueEncoding[] = ['f32', 'f16', 'bf16', 'i8'];

export const push: Command = {
  name: 'push',
  summary: 'send the weights that changed as one patch; resumes by itself when interrupted',
  usage:
    '--to URL --model ID --target new.safetensors --base old.safetensors | --shadow FILE\n' +
    `         ${GATEWAY_USAGE} [--epoch N] [--dry-run]\n` +
    '         with --shadow: [--threshold 1e-5] [--values f32|f16|bf16|i8] [--rebase]',
  options: {
    to: { type: 'string' },
    ...gatewayOptions,
    base: { type: 'string' },
    target: { type: 'string' },
    shadow: { type: 'string' },
    threshold: { type: 'string' },
    values: { type: 'string' },
    rebase: { type: 'boolean' },
    epoch: { type: 'string' },
    'dry-run': { type: 'boolean' },
  },
  async run(values, terminal) {
    const options = await pushOptions(values);
    const { planPush, pushPatch } = await import('../push/push.ts');
    const { TransferError } = await import('../push/transfer-error.ts');
    try {
      if (values['dry-run']) await tellPlan(await planPush(options), terminal);
      else {
        const onProgress = await progressOf(options.targetPath, terminal);
        await tellResult(await pushPatch({ ...options, onProgress }), options, terminal);
      }
      return 0;
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
      terminal.warn(`${error.message}\n`);
      return 1;
    }
  },
};

async function progressOf(targetPath: string, { write, isTerminal, columns }: Terminal) {
  const { createProgress } = await import('../push/progress.ts');
  const wholeBytes = await modelBytes(targetPath);
  const nowMs = (): number => performance.now();
  return createProgress({ write, isTerminal, columns, nowMs, ...(wholeBytes && { wholeBytes }) });
}

/** Size of all files of the model; undefined if it cannot be opened, which the push itself will report. */
async function modelBytes(path: string): Promise<number | undefined> {
  const { openModel } = await import('../patch/shards.ts');
  const model = await openModel(path).catch(() => undefined);
  await model?.close();
  return model?.sizeBytes;
}

async function tellResult(
  result: PushResult,
  { shadowPath }: PushOptions,
  { write }: Terminal,
): Promise<void> {
  const { formatBytes, formatShare } = await import('../push/progress.ts');
  const { bytesSent, modelBytes, durationMs, resumedAt } = result;
  const rate = formatBytes((bytesSent * 1000) / durationMs);
  write(`version ${result.version}: ${result.changed} weights changed, `);
  write(
    `${bytesSent} bytes sent for a model of ${modelBytes} (${formatShare(bytesSent, modelBytes)}), ${rate}/s\n`,
  );
  for (const at of resumedAt) write(`interrupted, resumed at byte ${at}\n`);
  if (result.rebased) write(`rebased on what others had pushed: continue training from ${shadowPath}\n`);
}

async function tellPlan(plan: PushPlan, { write }: Terminal): Promise<void> {
  const { formatShare } = await import('../push/progress.ts');
  const { bytes, modelBytes, baseVersion, targetVersion, changed, parameters, tensors } = plan;
  write(`would send version ${targetVersion}, from ${baseVersion}: ${changed} of ${parameters} weights `);
  write(`(${formatShare(changed, parameters)}) in ${tensors} tensors, `);
  write(
    `${bytes} bytes for a model of ${modelBytes} (${formatShare(bytes, modelBytes)}), stream ${plan.streamId}\n`,
  );
}

async function pushOptions(values: OptionValues): Promise<PushOptions> {
  const basePath = optional(values, 'base');
  const shadowPath = optional(values, 'shadow');
  if (basePath === undefined && shadowPath === undefined) throw new UsageError('missing --base or --shadow');
  const epoch = wholeNumber(values, 'epoch');
  const threshold = thresholdOf(values);
  const encoding = encodingOf(values);
  const rebase = values['rebase'] === true;
  if (shadowPath === undefined && (threshold || encoding !== undefined || rebase)) {
    throw new UsageError('--threshold, --values and --rebase require --shadow');
  }
  return {
    ...(await gatewayAddress(values, 'to')),
    modelId: required(values, 'model'),
    targetPath: required(values, 'target'),
    rebase,
    ...(basePath !== undefined && { basePath }),
    ...(shadowPath !== undefined && { shadowPath }),
    ...(epoch !== undefined && { epoch }),
    ...(threshold !== undefined && { threshold }),
    ...(encoding !== undefined && { values: encoding }),
  };
}

function thresholdOf(values: OptionValues): number | undefined {
  const text = optional(values, 'threshold');
  const threshold = Number(text);
  if (text === undefined) return undefined;
  if (text === '' || !(threshold >= 0 && Number.isFinite(threshold)))
    throw new UsageError(`--threshold: expected a number of at least 0, got ${text}`);
  return threshold;
}

function encodingOf(values: OptionValues): ValueEncoding | undefined {
  const text = optional(values, 'values');
  const encoding = ENCODINGS.find((each) => each === text);
  if (text !== undefined && encoding === undefined) {
    throw new UsageError(`--values: expected one of ${ENCODINGS.join(', ')}, got ${text}`);
  }
  return encoding;
}
