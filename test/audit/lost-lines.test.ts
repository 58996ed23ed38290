/** Lines of the audit log that are given up leave a trace in it, whatever else is written or not. */
import t from 'tap';
import { FileAuditLog, type FileAuditLogOptions } from '../../gateway/audit/audit-log.ts';
import { until } from '../lists/servers.ts';
import { sleep } from '../path/stage.ts';
import { entry } from './written.ts';

/** Entries of about 100 characters: so many may wait. */
const ROOM_BYTES = 1000;

/** A disk that takes lines when the test says so; `written` is what it has. */
function slowDisk() {
  const written: string[] = [];
  let isSlow = true;
  let takeNow = (): void => undefined;
  const file: FileAuditLogOptions['file'] = {
    head: { chain: '0', sequence: 0, hash: '0' },
    append: async (bodies) => {
      if (isSlow)
        await new Promise<void>((resolve) => {
          takeNow = resolve;
        });
      written.push(...bodies);
    },
    close: async () => undefined,
  };
  const speedUp = (): void => {
    isSlow = false;
    takeNow();
  };
  return { file, written, speedUp };
}

/** Counts what is given up. */
function newLog(file: FileAuditLogOptions['file']) {
  let lost = 0;
  const log = new FileAuditLog({
    file,
    isRequired: false,
    mostWaitingBytes: ROOM_BYTES,
    onLines: (outcome, lines) => {
      if (outcome === 'lost') lost += lines;
    },
  });
  return { log, lost: () => lost };
}

function ended(number: number): Parameters<FileAuditLog['record']>[0] {
  return { ...entry(number), event: 'ended' };
}

const told = (written: readonly string[]): readonly string[] =>
  written.flatMap((line) => /(\d+) lines were given up/.exec(line)?.[1] ?? []);

t.test(
  'lines given up while others were on their way are told, also when none comes after them',
  async (t) => {
    const { file, written, speedUp } = slowDisk();
    const { log, lost } = newLog(file);
    log.record(ended(0));
    await sleep(10);
    const count = 50;
    for (let number = 1; number < count; number += 1) log.record(ended(number));
    t.ok(lost() > 0);
    speedUp();
    t.ok(await until(() => told(written).length > 0));
    await log.close();
    t.same(told(written), [`${lost()}`]);
    t.equal(written.length, count - lost() + 1);
  },
);

t.test('what the close gave up is told where there is room for a line', async (t) => {
  const written: string[] = [];
  const { log, lost } = newLog({
    head: { chain: '0', sequence: 0, hash: '0' },
    append: async (bodies) => {
      if (bodies.length > 1) throw new Error('ENOSPC');
      written.push(...bodies);
    },
    close: async () => undefined,
  });
  for (let number = 0; number < 3; number += 1) log.record(ended(number));
  await log.close();
  t.equal(lost(), 3);
  t.same(told(written), ['3']);
});

t.test(
  'so it is where a slow disk takes what is on its way in the end, and nothing else is written',
  async (t) => {
    const { file, written, speedUp } = slowDisk();
    const { log, lost } = newLog(file);
    log.record(ended(0));
    await sleep(10);
    for (let number = 1; number < 4; number += 1) log.record(ended(number));
    const closing = log.close();
    t.ok(await until(() => lost() > 0));
    speedUp();
    await closing;
    t.match(written, [/"r-0"/, /"3 lines were given up"/]);
    t.equal(written.length, 2);
  },
);
