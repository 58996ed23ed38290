/** The content rules of a route hold over real sockets: nothing that breaks them is ever committed. */
import t from 'tap';
import type { OpenFields } from '../../gateway/patch/format.ts';
import { WEIGHT_PATCH_TYPE } from '../../gateway/patch/layout.ts';
import { CraftedStream } from '../patch/crafted-stream.ts';
import { exchange, HOST, isWhole, rawNode, setStage } from './stage.ts';

const ROUTES = `  - name: push
    match: { methods: [PUT], path: '/v1/models/{model_id}/from/{base_version}/to/{version}' }
    require: { scope: finetune, claims: { model_id: '{model_id}' } }
    stream:
      format: weight-patch
      maxBytes: 4KiB
      check: values
      maxAbs: 2
      maxChanged: 5%
      tensors: ['*.lora_A.*', '*.lora_B.*']
    upstream: sync
`;

interface Told {
  readonly open?: Partial<OpenFields>;
  readonly name?: string;
  readonly values?: readonly number[];
  readonly spoilEnd?: boolean;
}

/** A patch of the first elements of one tensor of 100 float32. */
function streamOf({ open = {}, name = 'q.lora_A.weight', values = [1, -2] }: Told): Buffer {
  const floats = Buffer.from(Float32Array.from(values).buffer);
  return new CraftedStream()
    .open({ modelId: 'vision', baseVersion: 6, targetVersion: 7, epoch: 2, ...open })
    .tensor({ name })
    .patch(
      { count: values.length, lastIndex: values.length - 1, indices: 'range' },
      [],
      undefined,
      (payload) => floats.copy(payload),
    )
    .end().bytes;
}

const refused: readonly (readonly [title: string, told: Told, status: number, fault: string])[] = [
  ['NaN', { values: [Number.NaN] }, 422, 'content'],
  ['an infinity', { values: [1, Number.NEGATIVE_INFINITY] }, 422, 'content'],
  ['a value above maxAbs', { values: [2.0000002] }, 422, 'content'],
  ['more of a tensor than maxChanged', { values: [1, 1, 1, 1, 1, 1] }, 422, 'content'],
  ['a tensor that no pattern takes', { name: 'q.weight' }, 422, 'content'],
  ['another model', { open: { modelId: 'visions' } }, 403, 'model'],
  ['a base that the path does not name', { open: { baseVersion: 5 } }, 409, 'base'],
  ['a version that the path does not name', { open: { targetVersion: 8 } }, 403, 'version'],
  ['a later epoch than the token allows', { open: { epoch: 4 } }, 403, 'epoch'],
];

t.test('patches are checked against the request and the content rules of their route', async (t) => {
  const node = await rawNode(t, (socket, text) => {
    if (text.includes('WPF1\x04')) socket.write('HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n');
  });
  const stage = await setStage(t, { nodes: [node.address], routes: ROUTES });
  const token = await stage.token({ max_epochs: 3 });
  const send = async (
    body: Buffer,
    path = '/v1/models/vision/from/6/to/7',
    bearer = token,
  ): Promise<string> => {
    const socket = await stage.connect();
    const head =
      `PUT ${path} HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${bearer}\r\n` +
      `Content-Type: ${WEIGHT_PATCH_TYPE}\r\nContent-Length: ${body.length}\r\n\r\n`;
    const answer = await exchange(socket, Buffer.concat([Buffer.from(head), body]), isWhole);
    socket.destroy();
    return answer;
  };

  for (const [title, told, status, fault] of refused) {
    t.match(await send(streamOf(told)), new RegExp(`^HTTP/1.1 ${status} [\\s\\S]*"fault":"${fault}"`), title);
  }
  t.match(
    await send(streamOf({}), '/v1/models/vision/from/06/to/7'),
    /"fault":"base"/,
    '06 is not a version number',
  );
  t.match(await send(streamOf({}), '/v1/models/vision/from/6/to/x'), /"fault":"version"/);
  const other = await stage.token({ base_version: 5 });
  t.match(
    await send(streamOf({}), undefined, other),
    /^HTTP\/1.1 403 [\s\S]*claim-denied/,
    'a token for another base is refused',
  );
  t.match(
    await send(Buffer.concat([streamOf({}), Buffer.alloc(4096)])),
    /^HTTP\/1.1 413 /,
    'a body over maxBytes is refused',
  );
  const ended = node.received.filter((text) => text.includes('WPF1\x04'));
  t.same(ended, [], 'no END frame reached the node');

  t.match(await send(streamOf({})), /^HTTP\/1.1 201 /, 'a patch within all rules is accepted');
  t.match(await stage.log(refused.length), [
    { 'denial.code': 'patch-invalid', cause: /^content in frame 2 at \d+$/ },
  ]);
});
