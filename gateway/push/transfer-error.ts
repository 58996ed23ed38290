/** Errors of failed transfers, with messages for people. */

import { z } from 'zod';
import { parseJson } from '../core/json-value.ts';
import { ModelDiffError } from '../patch/diff.ts';
import { PatchFaultError } from '../patch/fault.ts';
import { SafetensorsError } from '../patch/safetensors.ts';
import { PatchWriteError } from '../patch/write.ts';
import { GatewayAddressError, type GatewayAnswer } from './gateway-client.ts';

/** A push or pull failed. */
export class TransferError extends Error {
  override readonly name = 'TransferError';
  readonly status: number | undefined;
  /** The body of the refusal, if it was JSON; usually problem details. */
  readonly problem: unknown;

  constructor(message: string, status?: number, problem?: unknown) {
    super(message);
    this.status = status;
    this.problem = problem;
  }
}

/** Parses the body of an answer as JSON. Throws TransferError for a refusal, which is any status from 300 up. */
export function accepted({ status, body }: GatewayAnswer): {
  readonly status: number;
  readonly body: unknown;
} {
  const value = parseJson(body.toString());
  if (status < 300) return { status, body: value };
  throw new TransferError(refusalMessage(status, value), status, value);
}

/** Translates foreign errors to TransferError. Any other error is a bug and is returned as it is. */
export function translated(error: unknown): unknown {
  if (error instanceof TransferError) return error;
  if (error instanceof SafetensorsError || error instanceof ModelDiffError)
    return new TransferError(error.message);
  if (error instanceof PatchWriteError)
    return new TransferError(`a model file changed while it was sent: ${error.message}`);
  if (error instanceof PatchFaultError)
    return new TransferError(`a received patch is invalid: ${error.message}`);
  if (error instanceof GatewayAddressError) return new TransferError(error.message);
  if (error instanceof z.ZodError) return new TransferError('the answer is not from a sync node');
  if (isFileError(error)) return new TransferError(error.message);
  if (isConnectionError(error))
    return new TransferError(`the gateway cannot be reached: ${error.message || error.code}`);
  return error;
}

/** Whether a connection failed: the same request may succeed later. */
export function isConnectionError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && !isFileError(error);
}

/** Whether the file system failed; its errors name a path. */
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

/** Advice for a receiver that has moved on to another version. */
export function hasNow(version: number, digest = ''): string {
  return (
    `; the receiver is at version ${version}, digest ${digest}: ` +
    'pull it and train on from there, or push with --shadow and --rebase'
  );
}
