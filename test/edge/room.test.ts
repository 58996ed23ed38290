/** Over the memory bound nobody is read; if that does not help, the newest streams are ended until there is room. */
import t, { type Test } from 'tap';
import type { Denial } from '../../gateway/core/denial.ts';
import { type BufferHolder, Room } from '../../gateway/edge/room.ts';

class Holder implements BufferHolder {
  readonly begunMs: number;
  bufferedBytes: number;
  isHeld = false;
  denial: Denial | undefined;

  constructor(begunMs: number, bufferedBytes: number) {
    this.begunMs = begunMs;
    this.bufferedBytes = bufferedBytes;
  }

  setRoom(hasRoom: boolean): void {
    this.isHeld = !hasRoom;
  }

  cut(denial: Denial): void {
    this.denial = denial;
    this.bufferedBytes = 0;
  }
}

function roomFor(t: Test, limit: number, ...holders: Holder[]) {
  const told: (string | number)[] = [];
  const room = new Room({
    holders: new Set(holders),
    limitBytes: () => limit,
    metrics: { bufferedBytes: () => undefined, bufferPressure: (action) => void told.push(action) },
  });
  t.teardown(() => room.close());
  return { room, told };
}

function looks(room: Room, count: number): void {
  for (let left = count; left > 0; left--) room.look();
}

t.test('nobody is read while too much is held, and all again once a fifth is free', async (t) => {
  const [a, b] = [new Holder(1, 60), new Holder(2, 40)];
  const { room, told } = roomFor(t, 100, a, b);
  room.look();
  t.notOk(a.isHeld, 'holding exactly the bound is allowed');
  b.bufferedBytes = 41;
  room.look();
  t.ok(a.isHeld && b.isHeld);
  b.bufferedBytes = 30;
  room.look();
  t.ok(a.isHeld, 'reading does not resume at once');
  b.bufferedBytes = 20;
  room.look();
  t.notOk(a.isHeld || b.isHeld);
  t.same(told, ['paused']);
});

t.test('if nothing shrinks, the newest streams are ended, and no more than necessary', async (t) => {
  const holders = [new Holder(3, 50), new Holder(1, 50), new Holder(2, 50), new Holder(9, 0)];
  const { room, told } = roomFor(t, 100, ...holders);
  looks(room, 10);
  t.same(told, ['paused'], 'streams have a second to shrink');
  room.look();
  t.same(
    holders.map(({ denial }) => denial?.code),
    ['overloaded', undefined, 'overloaded', undefined],
    'a stream that holds nothing is not ended',
  );
  room.look();
  t.notOk(holders[1]?.isHeld);
});

t.test('of streams that began together the last to connect counts as the newest', async (t) => {
  const holders = [new Holder(1, 50), new Holder(1, 50), new Holder(1, 30)];
  const { room } = roomFor(t, 100, ...holders);
  looks(room, 11);
  t.same(
    holders.map(({ denial }) => denial?.code),
    [undefined, 'overloaded', 'overloaded'],
  );
});

t.test('reading is paused for at most a second, however little is over the bound', async (t) => {
  const [stuck, other] = [new Holder(1, 101), new Holder(2, 0)];
  const { room } = roomFor(t, 100, stuck, other);
  room.look();
  stuck.bufferedBytes = 90;
  looks(room, 9);
  t.ok(other.isHeld);
  looks(room, 2);
  t.notOk(other.isHeld);
  t.match(stuck.denial, { code: 'overloaded', retryAfterS: 1 });
});
