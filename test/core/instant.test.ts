/** Moments have one form, and every one of them is on the day it names. */
import t from 'tap';
import { parseInstant } from '../../gateway/core/instant.ts';

t.test('a date and a time with their zone', async (t) => {
  const rows = {
    '2026-12-01T00:00:00Z': Date.UTC(2026, 11, 1),
    '2026-12-01T02:00:00+02:00': Date.UTC(2026, 11, 1),
    '2026-11-30T18:30:00-05:30': Date.UTC(2026, 11, 1),
    '2024-02-29T23:59:59.123456789Z': Date.UTC(2024, 1, 29, 23, 59, 59, 123),
    '0001-01-01T00:00:00Z': -62_135_596_800_000,
  };
  for (const [text, ms] of Object.entries(rows)) t.equal(parseInstant(text), ms, text);
});

t.test('no other day, hour or form', async (t) => {
  const days = ['2026-02-29', '2026-02-30', '2026-04-31', '2026-13-01', '2026-00-01', '2026-01-00'];
  const times = ['T24:00:00', 'T23:60:00', 'T23:59:60', 'T00:00', 'T0:00:00', ' 00:00:00', ''];
  const zones = ['', 'z', '+24:00', '+00:60', '+0000', '+00', ' UTC', 'Z ', 'Z\n'];
  for (const text of [
    ...days.map((day) => `${day}T00:00:00Z`),
    ...times.map((time) => `2026-12-01${time}Z`),
    ...zones.map((zone) => `2026-12-01T00:00:00${zone}`),
    ...['', '2026-12-01', 'next year 2027', 'tomorrow 5', '1796083200', '+002026-12-01T00:00:00Z'],
    ...['2026-12-01T00:00:00.Z', '2026-12-01T00:00:00.1234567890Z', '2026-12-01T00:00:00,1Z'],
  ])
    t.equal(parseInstant(text), undefined, JSON.stringify(text));
});
