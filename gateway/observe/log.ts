/** The operational log: what the gateway does and what went wrong, one JSON object per line. */

import { type DestinationStream, destination, type Logger, pino } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** The log as the parts of the gateway see it. Pass the fields first, then the message. */
export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;

const STANDARD_ERROR = 2;

/**
 * Creates a log that writes to `output`, by default standard error. Writes are synchronous: lines are few, and the last
 * one before a crash matters most. Every line has the `base` fields.
 */
export function createLog(
  level: LogLevel,
  output: DestinationStream = standardError(),
  base: Readonly<Record<string, unknown>> | null = null,
): Log {
  return pino({ level, base, messageKey: 'message', timestamp, formatters: { level: named } }, output);
}

function standardError(): DestinationStream {
  const stream = destination({ fd: STANDARD_ERROR, sync: true });
  // A closed standard error must not end the gateway.
  stream.on('error', () => undefined);
  return stream;
}

const timestamp = (): string => `,"time":"${new Date().toISOString()}"`;
const named = (label: string): { level: string } => ({ level: label });
