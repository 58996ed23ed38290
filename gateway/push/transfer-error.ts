/** How a transfer ends when it does not come to its end, in words for people. */

import { z } from 'zod';
import { parseJson } from '../core/json-value.ts';
import { ModelDiffError } from '../patch/diff.ts';
import { PatchFaultError } from '../patch/fault.ts';
import { SafetensorsError } from '../patch/safetensors.ts';
import { PatchWriteError } from '../patch/write.ts';
import { GatewayAddressError, type GatewayAnswer } from './gateway-client.ts';

/** A push or pull that did not come to its end. */
export class TransferError extends Error {
  override readonly name = 'TransferError';
  readonly status: number | undefined;
  /** The body of the refusal, where it was problem details. */
  readonly problem: unknown;

  constructor(message: string, status?: number, problem?: unknown) {
    super(message);
    this.status = status;
    this.problem = problem;
  }
}

/** An answer as JSON, unless it is a refusal. Throws TransferError. */
export function accepted({ status, body }: GatewayAnswer): {
  readonly status: number;
  readonly body: unknown;
} {
  const value = parseJson(body.toString());
  if (status < 300) return { status, body: value };
  throw new TransferError(refusalMessage(status, value), status, value);
}

/** Foreign errors in our words; what is none of theirs is a bug and stays as it is. */
export function translated(error: unknown): unknown {
  if (error instanceof TransferError) return error;
  if (error instanceof SafetensorsError || error instanceof ModelDiffError)
    return new TransferError(error.message);
  if (error instanceof PatchWriteError)
    return new TransferError(`a model file changed while it was sent: ${error.message}`);
  if (error instanceof PatchFaultError)
    return new TransferError(`a patch that came is not good: ${error.message}`);
  if (error instanceof GatewayAddressError) return new TransferError(error.message);
  if (error instanceof z.ZodError) return new TransferError('the answer is not that of a sync node');
  if (isFileError(error)) return new TransferError(error.message);
  if (isConnectionError(error))
    return new TransferError(`the gateway cannot be reached: ${error.message || error.code}`);
  return error;
}

/** An error of a connection: the same request may well succeed later. */
export function isConnectionError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && !isFileError(error);
}

/** Errors of the file system name their path. */
function isFileError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'path' in error && 'syscall' in error && error.syscall !== 'connect';
}

const refusal = z.object({
  detail: z.string(),
  code: z.string().optional(),
  fault: z.string().optional(),
  version: z.number().int().optional(),
  digest: z.string().optional(),
});

function refusalMessage(status: number, body: unknown): string {
  const { success, data } = refusal.safeParse(body);
  if (!success) return `refused with ${status}`;
  const code = data.fault ?? data.code;
  const said = `refused with ${status}${code === undefined ? '' : ` ${code}`}: ${data.detail}`;
  return data.fault === 'base' && data.version !== undefined
    ? `${said}${hasNow(data.version, data.digest)}`
    : said;
}

/** What to do about a receiver that has gone on. */
export function hasNow(version: number, digest = ''): string {
  return (
    `; the receiver is at version ${version}, digest ${digest}: ` +
    'pull it and train on from there, or push with --shadow and --rebase'
  );
}
