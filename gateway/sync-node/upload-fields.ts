/** The fields of resumable uploads (draft-ietf-httpbis-resumable-upload-12), and who is uploading. */

import type { IncomingHttpHeaders } from 'node:http';
import { parseDecimal } from '../core/decimal.ts';

/** Where a body begins in its stream: 0 without `Upload-Offset`, undefined if its value is not a decimal number. */
export function uploadOffset(headers: IncomingHttpHeaders): number | undefined {
  const value = headers['upload-offset'] ?? '0';
  return typeof value === 'string' ? parseDecimal(value) : undefined;
}

/** The progress of an upload. */
export interface UploadProgress {
  readonly offset: number;
  readonly complete: boolean;
  readonly length?: number | undefined;
  /** Seconds after its last change until it may be removed. */
  readonly maxAgeS?: number;
}

export function uploadFields({ offset, complete, length, maxAgeS }: UploadProgress): Record<string, string> {
  return {
    'Upload-Offset': String(offset),
    'Upload-Complete': complete ? '?1' : '?0',
    ...(length !== undefined && { 'Upload-Length': String(length) }),
    ...(maxAgeS !== undefined && { 'Upload-Limit': `max-age=${maxAgeS}` }),
    'Cache-Control': 'no-store',
  };
}

/** Problem types the draft registers. */
export const MISMATCHING_OFFSET = 'https://iana.org/assignments/http-problem-types#mismatching-upload-offset';
export const INCONSISTENT_LENGTH =
  'https://iana.org/assignments/http-problem-types#inconsistent-upload-length';

/** Identifies the sender by the gateway's fields; equal for the same caller. Without a gateway all senders are one. */
export function ownerOf(headers: IncomingHttpHeaders): string {
  return JSON.stringify([headers['patchgate-tenant'] ?? '', headers['patchgate-subject'] ?? '']);
}

/** Whether the gateway admitted the request for the model of the path, or there was no gateway. */
export function isAdmittedFor(headers: IncomingHttpHeaders, modelId: string): boolean {
  const admitted = headers['patchgate-model'];
  return admitted === undefined || admitted === modelId;
}
