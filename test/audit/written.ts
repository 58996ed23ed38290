/** Writes audit logs for the tests. */

import { join } from 'node:path';
import type { Test } from 'tap';
import { type AuditFileOptions, openAuditFile } from '../../gateway/audit/audit-file.ts';
import { FileAuditLog, type FileAuditLogOptions } from '../../gateway/audit/audit-log.ts';
import type { AuditEntry } from '../../gateway/audit/entry.ts';

export const entry = (number: number): AuditEntry => ({
  event: 'admitted',
  timeMs: Date.UTC(2026, 10, 26),
  requestId: `r-${number}`,
  tenant: 'tenant-a',
  subject: 'worker-7',
});

export interface OpenLog {
  readonly log: FileAuditLog;
  readonly notes: readonly string[];
  /** Resolves to whether the line is on disk. */
  record(number: number): Promise<boolean>;
}

export async function openLog(
  options: Partial<AuditFileOptions> & { readonly path: string },
  more: Partial<FileAuditLogOptions> = {},
): Promise<OpenLog> {
  const { file, notes } = await openAuditFile({ rotateAtBytes: 1 << 30, ...options });
  const log = new FileAuditLog({ file, isRequired: true, ...more });
  return { log, notes, record: (number) => new Promise((resolve) => log.record(entry(number), resolve)) };
}

/** Writes a file of that many lines, one after the other. */
export async function writtenLog(t: Test, lines: number, rotateAtBytes = 1 << 30): Promise<string> {
  const path = join(t.testdir({}), 'audit.jsonl');
  const { log, record } = await openLog({ path, rotateAtBytes });
  for (let number = 1; number <= lines; number++) await record(number);
  await log.close();
  return path;
}
