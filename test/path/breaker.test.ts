/** A failing node rests, a slow one counts as failing, and what callers do counts for nothing. */
import t from 'tap';
import { exchange, HOST, isWhole, rawNode, setStage, sleep } from './stage.ts';
import {
  ask,
  askAlone,
  askTimes,
  gaugeOf,
  namedNode,
  response,
  until,
  whoAnswered,
} from './upstream-stage.ts';

const STATE = 'patchgate_breaker_state';
const breaker = (more: string): string =>
  `    balance: roundRobin\n    breaker: { minimumRequests: 4, ${more} }\n`;

t.test('a failing node rests while the next takes all, until one trial brings it back', async (t) => {
  const [a, b] = [await namedNode(t, 'a'), await namedNode(t, 'b')];
  const stage = await setStage(t, { nodes: [a.address, b.address], upstream: breaker('sleepWindow: 1s') });
  t.equal(await gaugeOf(stage, STATE, a), 0, 'the state is reported from the start');
  a.answer = () => response('a', 500);
  t.same((await askTimes(stage, 8)).filter((name) => name === 'a').length, 4, 'a 500 is passed on');
  t.equal(await gaugeOf(stage, STATE, a), 2);
  t.same(new Set(await askTimes(stage, 6)), new Set(['b']));
  t.equal(a.requests(), 4);
  a.answer = () => response('a');
  await until(async () => (await gaugeOf(stage, STATE, a)) === 1);
  t.ok((await askTimes(stage, 4)).includes('a'));
  t.equal(await gaugeOf(stage, STATE, a), 0);
});

t.test(
  'a kept connection found closed counts against no node, since the request is sent elsewhere',
  async (t) => {
    const [keeps, resets] = [
      await namedNode(t, 'keeps'),
      await rawNode(t, (socket, text) => {
        const heads = text.split('\r\n\r\n').length - 1;
        if (heads === 1) socket.write(response('resets'));
        else socket.resetAndDestroy();
      }),
    ];
    const stage = await setStage(t, {
      nodes: [keeps.address, resets.address],
      upstream: `${breaker('sleepWindow: 30s')}    ejection: { consecutiveFailures: 1, for: 30s }\n`,
    });
    t.same(new Set(await askTimes(stage, 24)), new Set(['keeps', 'resets']));
    t.ok(resets.received.length > 4, 'it was asked anew each time');
    t.equal(await gaugeOf(stage, STATE, resets), 0);
    t.equal(await gaugeOf(stage, 'patchgate_node_up', resets), 1);
  },
);

t.test('if all nodes rest the answer is a 503 with Retry-After, and nothing is sent', async (t) => {
  const node = await rawNode(t, (socket) => socket.resetAndDestroy());
  const stage = await setStage(t, { nodes: [node.address], upstream: breaker('sleepWindow: 30s') });
  t.same(new Set(await askTimes(stage, 4)), new Set(['502 node-failed']));
  const answer = await askAlone(stage);
  t.match(answer, /^HTTP\/1\.1 503 .*"code":"breaker-open"/s);
  const [, seconds] = /Retry-After: (\d+)/.exec(answer) ?? [];
  t.ok(Number(seconds) > 20 && Number(seconds) <= 30, `Retry-After is ${seconds} s`);
  t.equal(node.received.length, 4);
  t.notMatch(answer, /127\.0\.0\.1/, 'no node is named');
  t.match((await stage.log(5)).at(-1), { 'denial.code': 'breaker-open', 'decision.step': 'node' });
});

t.test('what the caller is to blame for does not count as a failure', async (t) => {
  const node = await namedNode(t, 'a');
  const stage = await setStage(t, { nodes: [node.address], upstream: breaker('sleepWindow: 30s') });
  node.answer = () => response('a', 404);
  t.same(new Set(await askTimes(stage, 6)), new Set(['a']));
  node.answer = () => undefined;
  for (let turn = 1; turn <= 6; turn++) {
    const socket = await stage.connect();
    socket.write(`GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await until(() => node.requests() === 6 + turn);
    socket.destroy();
  }
  await stage.log(12);
  t.equal(await gaugeOf(stage, STATE, node), 0);
  node.answer = () => response('a');
  t.same(await askTimes(stage, 1), ['a']);
});

t.test('the first waiting requests reveal a node that stands still, and go on waiting', async (t) => {
  const node = await namedNode(t, 'a');
  const stage = await setStage(t, {
    nodes: [node.address],
    upstream: `${breaker('timeout: 100ms, sleepWindow: 30s')}    timeouts: { firstByte: 20s }\n`,
  });
  node.answer = (socket) => {
    setTimeout(() => socket.write(response('a')), 600);
    return undefined;
  };
  const waiting = [1, 2, 3, 4].map(() => askAlone(stage));
  await until(async () => (await gaugeOf(stage, STATE, node)) === 2);
  t.equal(whoAnswered(await askAlone(stage)), '503 breaker-open');
  t.same((await Promise.all(waiting)).map(whoAnswered), ['a', 'a', 'a', 'a']);
});

t.test('a node may take its time while a body flows and after it', async (t) => {
  const node = await rawNode(t, (socket, text) => {
    if (text.endsWith('end')) setTimeout(() => socket.write(response('a')), 300);
  });
  const stage = await setStage(t, {
    nodes: [node.address],
    upstream: breaker('timeout: 100ms, sleepWindow: 30s'),
  });
  const socket = await stage.connect();
  for (let turn = 0; turn < 4; turn++) {
    socket.write(`PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 6\r\n\r\nthe`);
    await sleep(200);
    t.equal(whoAnswered(await exchange(socket, 'end', isWhole)), 'a');
  }
  t.equal(await gaugeOf(stage, STATE, node), 0);
  socket.destroy();
});

t.test('an exceeded time to the first byte is a failure after a body as well', async (t) => {
  const node = await rawNode(t, () => undefined);
  const stage = await setStage(t, {
    nodes: [node.address],
    upstream: `${breaker('sleepWindow: 30s')}    timeouts: { firstByte: 100ms }\n`,
  });
  const put = `PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 3\r\n\r\nend`;
  for (let turn = 0; turn < 4; turn++) {
    const socket = await stage.connect();
    t.equal(whoAnswered(await exchange(socket, put, isWhole)), '504 node-timeout');
    socket.destroy();
  }
  t.equal(await gaugeOf(stage, STATE, node), 2);
});

t.test('responses that break off amid their body are failures despite their good beginning', async (t) => {
  const node = await rawNode(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf');
    setTimeout(() => socket.resetAndDestroy(), 10);
  });
  const stage = await setStage(t, { nodes: [node.address], upstream: breaker('sleepWindow: 30s') });
  for (let turn = 0; turn < 2; turn++) t.match(await askAlone(stage), /half$/);
  t.equal(await gaugeOf(stage, STATE, node), 2);
});

t.test('a trial that stands still is soon over, and the next one closes the breaker', async (t) => {
  const node = await namedNode(t, 'a');
  const stage = await setStage(t, {
    nodes: [node.address],
    upstream: breaker('timeout: 100ms, sleepWindow: 300ms'),
  });
  node.answer = () => response('a', 503);
  await askTimes(stage, 4);
  await until(async () => (await gaugeOf(stage, STATE, node)) === 1);
  node.answer = () => undefined;
  const socket = await stage.connect();
  socket.write(`GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
  await until(async () => (await gaugeOf(stage, STATE, node)) === 2);
  node.answer = () => response('a');
  await until(async () => (await gaugeOf(stage, STATE, node)) === 1);
  t.same(await askTimes(stage, 2), ['a', 'a']);
  t.equal(await gaugeOf(stage, STATE, node), 0);
  socket.destroy();
});

t.test('only so many requests wait for a node, and others go to the next or queue', async (t) => {
  const [a, b] = [await namedNode(t, 'a'), await namedNode(t, 'b')];
  const held: (() => void)[] = [];
  a.answer = (socket) => {
    held.push(() => socket.write(response('a')));
    return undefined;
  };
  const stage = await setStage(t, {
    nodes: [a.address, b.address],
    upstream: breaker('timeout: 60s, maxConcurrent: 2'),
  });
  const waiting: Promise<string>[] = [];
  while (a.requests() < 2) {
    const before = a.requests() + b.requests();
    waiting.push(askAlone(stage));
    await until(() => a.requests() + b.requests() > before);
  }
  t.same(new Set(await askTimes(stage, 6)), new Set(['b']));
  t.equal(a.requests(), 2);
  for (const release of held) release();
  const names = (await Promise.all(waiting)).map(whoAnswered);
  t.equal(names.filter((name) => name === 'a').length, 2);
});

t.test('a request whose body is on its way does not count as waiting for the node', async (t) => {
  const node = await rawNode(t, (socket, text) => {
    if (text.endsWith('end')) socket.write(response('a'));
  });
  const stage = await setStage(t, { nodes: [node.address], upstream: breaker('maxConcurrent: 1') });
  const sockets = [await stage.connect(), await stage.connect(), await stage.connect()];
  for (const [index, socket] of sockets.entries()) {
    socket.write(`PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 6\r\n\r\nthe`);
    await until(() => node.received.filter((text) => text.endsWith('the')).length === index + 1);
  }
  for (const socket of sockets) t.equal(whoAnswered(await exchange(socket, 'end', isWhole)), 'a');
  for (const socket of sockets) socket.destroy();
});

t.test('requests waiting for a place at a node learn at once when it begins to rest', async (t) => {
  const node = await namedNode(t, 'a');
  node.answer = () => undefined;
  const stage = await setStage(t, {
    nodes: [node.address],
    upstream: `    breaker: { timeout: 200ms, minimumRequests: 2, maxConcurrent: 2, sleepWindow: 30s }
    timeouts: { connect: 30s, firstByte: 30s }\n`,
  });
  const sockets = [await stage.connect(), await stage.connect()];
  for (const socket of sockets) socket.write(`GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
  await until(() => node.requests() === 2);
  const third = await stage.connect();
  t.equal(whoAnswered(await ask(third)), '503 breaker-open');
  for (const socket of [...sockets, third]) socket.destroy();
});
