/** Opens the logs of requests for a running gateway: the access log, and the audit log if there is one. */

import { setImmediate as turn } from 'node:timers/promises';
import { openAuditFile } from './audit/audit-file.ts';
import { type AuditLog, FileAuditLog } from './audit/audit-log.ts';
import { holdFile } from './audit/hold.ts';
import { type AccessLog, createAccessLog, type LineOutput, type SharedLog } from './observe/access-log.ts';
import type { Log } from './observe/log.ts';
import type { Metrics } from './observe/metrics.ts';
import type { AuditSettings } from './policy/gateway-settings.ts';

export interface Logs {
  readonly accessLog: AccessLog;
  /** Absent if the policy configures none. */
  readonly audit: AuditLog | undefined;
  /** Called after the last request: writes what is still buffered. */
  close(): Promise<void>;
}

/** An audit log, and the function that closes it. */
export interface OpenAudit {
  readonly log: AuditLog;
  /** May be called again. */
  close(): Promise<void>;
}

interface AuditContext {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly version: string;
}

/** Both logs, closed together. */
export function logsOf(accessLog: AccessLog, audit: OpenAudit | undefined): Logs {
  let closing: Promise<void> | undefined;
  const closeAll = async (): Promise<void> => {
    // Connections that were broken off report it in the next turns of the event loop.
    for (let turns = 0; turns < 3; turns++) await turn();
    await Promise.all([accessLog.close(), audit?.close()]);
  };
  return {
    accessLog,
    audit: audit?.log,
    close: () => {
      closing ??= closeAll();
      return closing;
    },
  };
}

/** Throws if the file cannot be opened, which must stop the start of the gateway. */
export function openAccessLog(file: string | LineOutput, log: Log): SharedLog {
  return createAccessLog({
    file,
    onFault: (error) => log.error({ error: error.message }, 'the access log cannot be written'),
  });
}

/**
 * The first and last entry record the start and end of the log itself, so that an unintended end is visible. Rejects if
 * the file cannot be opened, which must stop the start of the gateway.
 */
export async function openAudit(
  settings: AuditSettings,
  { log, metrics, version }: AuditContext,
): Promise<OpenAudit> {
  const held = await holdFile(settings.file);
  const { path } = held;
  if (path !== settings.file)
    log.warn({ file: path }, 'the audit log is in use by another process, writing to this file instead');
  const { file, notes } = await openAuditFile({ ...settings, path });
  metrics.auditWritable(true);
  const audit = new FileAuditLog({
    file,
    isRequired: settings.onFailure === 'refuse',
    onLines: (outcome, lines) => metrics.auditLines(outcome, lines),
    onFault: (fault) => {
      metrics.auditWritable(fault === undefined);
      if (fault === undefined) log.info({ file: path }, 'the audit log can be written again');
      else log.error({ file: path, error: fault }, 'the audit log cannot be written');
    },
    onHead: (head) => log.info({ file: path, ...head }, 'the head of the audit log'),
  });
  for (const note of notes) {
    log.error({ file: path, note }, 'the audit log was damaged or truncated');
    audit.record({ event: 'torn', timeMs: Date.now(), note });
  }
  audit.record({ event: 'started', timeMs: Date.now(), note: `patchgate ${version}` });
  let closing: Promise<void> | undefined;
  const end = async (): Promise<void> => {
    audit.record({ event: 'stopped', timeMs: Date.now() });
    await audit.close();
    held.release();
  };
  return {
    log: audit,
    close: () => {
      closing ??= end();
      return closing;
    },
  };
}
