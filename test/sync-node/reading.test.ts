/** What the sync node says about a model, and its weights whole, in ranges, and as patches between versions. */

import t from 'tap';
import { WEIGHT_PATCH_TYPE } from '../../gateway/patch/layout.ts';
import { ask, put } from './asking.ts';
import { parameters, plans, setNode } from './set-node.ts';
import { MODEL } from './training.ts';

t.test('the description of a model names its version, digest, parameters and tensors', async (t) => {
  const { url, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  await put(url, patch);
  const { status, json } = await ask(url, 'GET', `/v1/models/${MODEL}`);
  t.equal(status, 200);
  t.match(json, {
    model_id: MODEL,
    version: 1,
    digest: patch.digest,
    parameters,
    published: [],
    versions: [
      { version: 0, digest: /^[0-9a-f]{64}$/, published: false },
      { version: 1, digest: patch.digest, published: false, base: 0, patch_bytes: patch.bytes.length },
    ],
    tensors: plans.map(([name, dtype, shape]) => ({ name, dtype, shape })),
  });
  const head = await ask(url, 'HEAD', `/v1/models/${MODEL}`);
  t.equal(head.status, 200);
  t.equal(head.body.length, 0);
});

t.test('weights are served whole or in the requested range', async (t) => {
  const { url, training } = await setNode(t);
  const file = await training.read(0);
  const size = file.length;
  const cases: readonly (readonly [range: string, from: number, to: number])[] = [
    ['bytes=0-0', 0, 1],
    ['bytes=0-99', 0, 100],
    ['bytes=100-', 100, size],
    ['bytes=-10', size - 10, size],
    [`bytes=-${size * 2}`, 0, size],
    [`bytes=${size - 1}-${size * 2}`, size - 1, size],
  ];
  for (const [range, from, to] of cases) {
    const { status, headers, body } = await ask(url, 'GET', `/v1/models/${MODEL}/weights`, {
      headers: { range },
    });
    t.equal(status, 206, range);
    t.equal(headers['content-range'], `bytes ${from}-${to - 1}/${size}`);
    t.ok(body.equals(file.subarray(from, to)));
  }
  for (const range of [`bytes=${size}-`, 'bytes=-0', `bytes=${size}-${size + 5}`]) {
    const { status, headers } = await ask(url, 'GET', `/v1/models/${MODEL}/weights`, { headers: { range } });
    t.equal(status, 416, range);
    t.equal(headers['content-type'], 'application/problem+json');
    t.equal(headers['content-range'], `bytes */${size}`);
  }
  for (const range of ['bytes=0-1,3-4', 'bytes=-', 'bytes=a-b', 'lines=1-2', 'bytes=1']) {
    const { status, body } = await ask(url, 'GET', `/v1/models/${MODEL}/weights`, { headers: { range } });
    t.equal(status, 200, range);
    t.ok(body.equals(file));
  }
});

t.test('HEAD of weights gives their size, whatever range was requested', async (t) => {
  const { url, training } = await setNode(t);
  const headers = { range: 'bytes=0-99' };
  const head = await ask(url, 'HEAD', `/v1/models/${MODEL}/weights`, { headers });
  t.equal(head.status, 200);
  t.equal(head.headers['content-length'], String((await training.read(0)).length));
  t.equal(head.headers['accept-ranges'], 'bytes');
  t.equal(head.body.length, 0);
});

t.test('a range of a version that is gone is answered with the whole new version', async (t) => {
  const { url, training } = await setNode(t);
  const path = `/v1/models/${MODEL}/weights`;
  const etag = String((await ask(url, 'HEAD', path)).headers.etag);
  const headers = { range: 'bytes=100-', 'if-range': etag };
  t.equal(
    (await ask(url, 'GET', path, { headers })).status,
    206,
    'the range is served while the version is there',
  );
  await put(url, await training.patch(0, await training.train()));
  const { status, body, headers: fields } = await ask(url, 'GET', path, { headers });
  t.equal(status, 200);
  t.not(fields.etag, etag);
  t.ok(body.equals(await training.read(1)));
});

t.test('every retained version is described, with its weights and its patch', async (t) => {
  const { url, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  await put(url, patch);
  const at = (rest: string) => ask(url, 'GET', `/v1/models/${MODEL}/versions/${rest}`);
  t.same((await at('1')).json, {
    model_id: MODEL,
    version: 1,
    digest: patch.digest,
    published: false,
    base: 0,
    patch_bytes: patch.bytes.length,
  });
  t.ok((await at('0/weights')).body.equals(await training.read(0)), 'the version before is served too');
  t.ok((await at('1/weights')).body.equals(await training.read(1)));
  const sent = await at('1/patch');
  t.equal(sent.headers['content-type'], WEIGHT_PATCH_TYPE);
  t.ok(sent.body.equals(patch.bytes), 'the patch is served byte for byte');
  const range = await ask(url, 'GET', `/v1/models/${MODEL}/versions/1/patch`, {
    headers: { range: 'bytes=9-' },
  });
  t.ok(range.body.equals(patch.bytes.subarray(9)));
  t.equal((await at('0/patch')).status, 404, 'no patch made the first version');
  for (const rest of ['2', '2/weights', '2/patch']) t.equal((await at(rest)).status, 404, rest);
});
