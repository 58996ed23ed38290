/** The fields of resumable uploads (draft-ietf-httpbis-resumable-upload-12), and who is uploading. */

import type { IncomingHttpHeaders } from 'node:http';
import { parseDecimal } from '../core/decimal.ts';

/** Where a body begins in its stream; 0 where nothing is said. Nothing for a value that is no plain number. */
export function uploadOffset(headers: IncomingHttpHeaders): number | undefined {
  const value = headers['upload-offset'] ?? '0';
  return typeof value === 'string' ? parseDecimal(value) : undefined;
}

/** How far an upload has come. */
export interface UploadProgress {
  readonly offset: number;
  readonly complete: boolean;
  readonly length?: number | undefined;
  /** Seconds it is kept at least. */
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

/** Who sends, as the gateway found out; the same words for the same caller. Without a gateway all are one. */
export function ownerOf(headers: IncomingHttpHeaders): string {
  return JSON.stringify([headers['patchgate-tenant'] ?? '', headers['patchgate-subject'] ?? '']);
}

/** The gateway admitted the request for the model of the path, or no gateway spoke. */
export function isAdmittedFor(headers: IncomingHttpHeaders, modelId: string): boolean {
  const admitted = headers['patchgate-model'];
  return admitted === undefined || admitted === modelId;
}
