/** `patchgate push`: the difference of two safetensors files, through a gateway, to a sync node. */

import { readFile } from 'node:fs/promises';
import type { PushOptions } from '../push/push.ts';
import { type Command, hostPort, type OptionValues, optional, required, UsageError } from './command.ts';

export const push: Command = {
  name: 'push',
  summary: 'send the weights that changed as one patch',
  usage:
    '--to URL --model ID --base old.safetensors --target new.safetensors\n' +
    '                --token TOKEN|@FILE [--cert FILE --key FILE] [--ca FILE] [--epoch N] [--connect HOST:PORT]',
  options: {
    to: { type: 'string' },
    model: { type: 'string' },
    base: { type: 'string' },
    target: { type: 'string' },
    cert: { type: 'string' },
    key: { type: 'string' },
    ca: { type: 'string' },
    token: { type: 'string' },
    epoch: { type: 'string' },
    connect: { type: 'string' },
  },
  async run(values, terminal) {
    const { createProgress } = await import('../push/progress.ts');
    const { pushPatch } = await import('../push/push.ts');
    const { TransferError } = await import('../push/transfer-error.ts');
    const { write, isTerminal, columns } = terminal;
    const progress = createProgress({ write, isTerminal, columns, nowMs: () => performance.now() });
    try {
      const result = await pushPatch({ ...(await pushOptions(values)), onProgress: progress });
      write(`version ${result.version}: ${result.changed} weights changed, `);
      write(`${result.bytesSent} bytes sent for a model of ${result.modelBytes}\n`);
      return 0;
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
      terminal.warn(`${error.message}\n`);
      return 1;
    }
  },
};

async function pushOptions(values: OptionValues): Promise<Omit<PushOptions, 'onProgress'>> {
  const [certPem, keyPem, caPem] = await Promise.all(
    ['cert', 'key', 'ca'].map((name) => fileOf(values, name)),
  );
  const token = required(values, 'token');
  const connect = optional(values, 'connect');
  const epoch = optional(values, 'epoch');
  if (epoch !== undefined && !/^[0-9]{1,9}$/.test(epoch))
    throw new UsageError('--epoch takes a whole number');
  return {
    to: required(values, 'to'),
    modelId: required(values, 'model'),
    basePath: required(values, 'base'),
    targetPath: required(values, 'target'),
    token: token.startsWith('@') ? (await readFile(token.slice(1), 'utf8')).trim() : token,
    ...(certPem !== undefined && { certPem }),
    ...(keyPem !== undefined && { keyPem }),
    ...(caPem !== undefined && { caPem }),
    ...(epoch !== undefined && { epoch: Number(epoch) }),
    ...(connect !== undefined && { connectTo: hostPort(connect) }),
  };
}

async function fileOf(values: OptionValues, name: string): Promise<string | undefined> {
  const path = optional(values, name);
  if (path === undefined) return undefined;
  return readFile(path, 'utf8').catch((error: unknown) => {
    throw new UsageError(`--${name}: ${error instanceof Error ? error.message : String(error)}`);
  });
}
