/** What is written of requests, opened for a running gateway: the access log, and the audit log where there is one. */

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
  /** Absent where the policy asks for none. */
  readonly audit: AuditLog | undefined;
  /** After the last request: writes what waits. */
  close(): Promise<void>;
}

/** An audit log, and what ends it. */
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

/** The logs as one, which are closed together. */
export function logsOf(accessLog: AccessLog, audit: OpenAudit | undefined): Logs {
  let closing: Promise<void> | undefined;
  const closeAll = async (): Promise<void> => {
    // Connections that are broken off tell so in the next turns.
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

/** Throws when the file cannot be had: that is a broken start. */
export function openAccessLog(file: string | LineOutput, log: Log): SharedLog {
  return createAccessLog({
    file,
    onFault: (error) => log.error({ error: error.message }, 'the access log cannot be written'),
  });
}

/**
 * Its first and its last line are its own, so that an end that nobody meant is seen. Rejects when the file cannot be had:
 * that is a broken start.
 */
export async function openAudit(
  settings: AuditSettings,
  { log, metrics, version }: AuditContext,
): Promise<OpenAudit> {
  const held = await holdFile(settings.file);
  const { path } = held;
  if (path !== settings.file)
    log.warn({ file: path }, 'another process has the audit log: this one begins beside it');
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
    log.error({ file: path, note }, 'the audit log was not whole');
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
