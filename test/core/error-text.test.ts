/** A log line says why something failed, whatever was thrown. */
import t from 'tap';
import { messageOf } from '../../gateway/core/error-text.ts';

t.test('of an error it is the message, without name and stack', async (t) => {
  t.equal(messageOf(new TypeError('no room')), 'no room');
});

t.test('anything else is written as text', async (t) => {
  for (const [thrown, text] of [
    ['no room', 'no room'],
    [7, '7'],
    [undefined, 'undefined'],
    [null, 'null'],
    [{ message: 'no error' }, '[object Object]'],
  ] as const) {
    t.equal(messageOf(thrown), text);
  }
});
