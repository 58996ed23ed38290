/** Every lie a PATCH frame can tell, in every encoding and operation, with valid CRCs. */
import t from 'tap';
import { patchFaults } from '../../gateway/patch/fault.ts';
import { sealHeader } from '../../gateway/patch/format.ts';
import { check } from './chunked-check.ts';
import { begun, CraftedStream } from './crafted-stream.ts';
import { forms, goodPatch, lies } from './patch-lies.ts';

const forgeries = forms.flatMap((form) =>
  lies
    .filter(({ fits = () => true }) => fits(form))
    .map(({ title, rule, frame = 2, build }) => {
      const built = build(form);
      return {
        ...form,
        title,
        rule,
        frame,
        body: built instanceof CraftedStream ? built.end().bytes : built,
      };
    }),
);

t.test('in every encoding each lie is refused with the status of its rule and without END', async (t) => {
  const wrong: object[] = [];
  for (const { body, ...forgery } of forgeries) {
    for (const size of [1, 13, body.length]) {
      const { fault, ended } = check(body, size);
      const { rule, frame } = forgery;
      const right =
        fault?.rule === rule && fault.frame === frame && fault.status === patchFaults[rule].status;
      if (!right || ended) wrong.push({ ...forgery, size, fault, ended });
    }
  }
  t.same(wrong, []);
  t.equal(forms.length, 32);
  const rules = new Set(forgeries.map(({ rule }) => rule));
  t.comment(
    `${forgeries.length} forgeries with valid CRCs in 32 encodings break ${rules.size} rules, in 3 chunk sizes each`,
  );
});

t.test('every form without a lie is accepted', async (t) => {
  for (const form of forms) {
    const { fields, index } = goodPatch(form);
    t.equal(check(begun().patch(fields, index).end().bytes, 5).fault, undefined, JSON.stringify(form));
  }
});

t.test('a header with another CRC is refused', async (t) => {
  const { frames } = begun().patch({}).end();
  for (const [k, frame] of frames.entries()) {
    const bent = frames.map((each) => Buffer.from(each));
    const own = bent[k] ?? Buffer.alloc(0);
    own.writeUInt32LE(~frame.readUInt32LE(28) >>> 0, 28);
    t.match(check(Buffer.concat(bent), 13).fault, { rule: 'header-crc', frame: k });
    sealHeader(own.subarray(0, own.readUInt16LE(6)));
    t.equal(check(Buffer.concat(bent), 13).fault, undefined, 'the header is accepted once its CRC is right');
  }
});
