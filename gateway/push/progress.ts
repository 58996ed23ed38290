/** Shows the progress of a transfer: a bar on a terminal, a few lines elsewhere. */

export interface ProgressOptions {
  readonly write: (text: string) => void;
  readonly isTerminal: boolean;
  /** Width of the terminal in characters. */
  readonly columns: number;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  /** Bytes of the whole model, to show what share of it is sent. */
  readonly wholeBytes?: number;
}

/** Called after each piece; `sentBytes` rises to `totalBytes`, but falls back after a cut. */
export type Progress = (sentBytes: number, totalBytes: number) => void;

/** The shortest time between two redraws of a terminal. */
const REDRAW_MS = 50;
const QUARTERS = 4;

export function createProgress(options: ProgressOptions): Progress {
  return options.isTerminal ? createBar(options) : createLines(options);
}

function createBar({ write, columns, nowMs, wholeBytes }: ProgressOptions): Progress {
  const startedMs = nowMs();
  let drawnMs = Number.NEGATIVE_INFINITY;
  let drawn = 0;
  return (sent, total) => {
    const done = sent >= total;
    if (!done && nowMs() - drawnMs < REDRAW_MS) return;
    drawnMs = nowMs();
    const bar = formatBar(sent, total, nowMs() - startedMs, columns, wholeBytes);
    // A shorter bar must overwrite the end of a longer one.
    write(`\r${bar.padEnd(drawn)}${done ? '\n' : ''}`);
    drawn = bar.length;
  };
}

function createLines({ write, nowMs, wholeBytes }: ProgressOptions): Progress {
  const startedMs = nowMs();
  let told = 0;
  return (sent, total) => {
    const quarter = total === 0 ? QUARTERS : Math.floor((sent / total) * QUARTERS);
    if (quarter <= told) return;
    told = quarter;
    write(`${formatLine(sent, total, nowMs() - startedMs, wholeBytes)}\n`);
  };
}

/** `[#####.....]  50% 1.0 MiB of 2.0 MiB, 3.1 MiB/s`, at most as wide as the terminal. */
export function formatBar(
  sent: number,
  total: number,
  elapsedMs: number,
  columns: number,
  wholeBytes?: number,
): string {
  const text = ` ${formatLine(sent, total, elapsedMs, wholeBytes)}`;
  const width = Math.max(10, Math.min(40, columns - text.length - 3));
  const filled = total === 0 ? width : Math.floor((sent / total) * width);
  return `[${'#'.repeat(filled)}${'.'.repeat(width - filled)}]${text}`.slice(0, Math.max(1, columns - 1));
}

/** ` 50% 1.0 MiB of 2.0 MiB, 3.1 MiB/s`, and what share of the whole model that is, if its size is known. */
export function formatLine(sent: number, total: number, elapsedMs: number, wholeBytes?: number): string {
  const percent = total === 0 ? 100 : Math.floor((sent / total) * 100);
  const rate = elapsedMs > 0 ? `, ${formatBytes((sent * 1000) / elapsedMs)}/s` : '';
  const share = wholeBytes === undefined ? '' : `, ${formatShare(total, wholeBytes)} of the model`;
  return `${String(percent).padStart(3)}% ${formatBytes(sent)} of ${formatBytes(total)}${rate}${share}`;
}

/** `9.3 %`. */
export function formatShare(part: number, whole: number): string {
  return `${((part / whole) * 100).toFixed(1)} %`;
}

const UNITS = ['KiB', 'MiB', 'GiB', 'TiB'];

/** Bytes for people: `512 B`, `1.5 MiB`. */
export function formatBytes(bytes: number): string {
  const whole = Math.round(bytes);
  if (whole < 1024) return `${whole} B`;
  let value = whole / 1024;
  let unit = 0;
  // A value that would round to 1024.0 is shown as 1.0 of the next unit.
  while (value >= 1023.95 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(1)} ${UNITS[unit]}`;
}
