/** A request is sent again only if the first attempt had no effect. */
import t from 'tap';
import { exchange, HOST, isWhole, rawNode, setStage } from './stage.ts';
import { ask, askTimes, namedNode, response, whoAnswered } from './upstream-stage.ts';

t.test('if a node cannot be connected to the next one is tried, once', async (t) => {
  const b = await namedNode(t, 'b');
  const stage = await setStage(t, {
    nodes: ['127.0.0.1:1', b.address],
    upstream: '    balance: roundRobin\n',
  });
  t.same(new Set(await askTimes(stage, 4)), new Set(['b']));
  const socket = await stage.connect();
  const put = `PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 4\r\n\r\n\r\n\r\n`;
  for (let turn = 0; turn < 2; turn++) t.equal(whoAnswered(await exchange(socket, put, isWhole)), 'b');
  socket.destroy();
  const nodes = ['127.0.0.1:1', '127.0.0.1:2', b.address];
  const gone = await setStage(t, { nodes, upstream: '    balance: roundRobin\n' });
  t.same(await askTimes(gone, 1), ['503 node-unavailable'], 'a third node is not tried');
});

t.test('a kept connection that breaks under a GET is replaced by one of another node', async (t) => {
  const [a, b] = [await namedNode(t, 'a'), await namedNode(t, 'b')];
  for (const node of [a, b]) {
    node.answer = (socket) => {
      if (node.requests() === 1) return response(node === a ? 'a' : 'b');
      socket.resetAndDestroy();
      return undefined;
    };
  }
  const stage = await setStage(t, { nodes: [a.address, b.address], upstream: '    balance: roundRobin\n' });
  const socket = await stage.connect();
  const first = whoAnswered(await ask(socket));
  const [used, other] = first === 'a' ? [a, b] : [b, a];
  other.answer = () => response('other');
  t.equal(whoAnswered(await ask(socket)), 'other');
  t.equal(whoAnswered(await ask(socket)), 'other', 'the broken node was avoided');
  t.equal(used.requests(), 2);
  socket.destroy();
});

for (const { how, begin } of [
  { how: 'half a head', begin: 'HTTP/1.1 200 OK\r\nContent-L' },
  { how: 'an interim response', begin: 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n' },
]) {
  t.test(`a GET is not sent twice once ${how} of its answer is there`, async (t) => {
    const node = await namedNode(t, 'a');
    node.answer = (socket) => {
      if (node.requests() === 1) return response('a');
      setTimeout(() => socket.resetAndDestroy(), 50);
      return begin;
    };
    const stage = await setStage(t, { nodes: [node.address] });
    t.same(await askTimes(stage, 2), ['a', '502 node-failed']);
    t.equal(node.requests(), 2);
  });
}

t.test('nor is one whose node was waited for longer than its breaker waits', async (t) => {
  const node = await namedNode(t, 'a');
  node.answer = (socket) => {
    if (node.requests() === 1) return response('a');
    setTimeout(() => socket.resetAndDestroy(), 1000);
    return undefined;
  };
  const stage = await setStage(t, { nodes: [node.address], upstream: '    breaker: { timeout: 100ms }\n' });
  t.same(await askTimes(stage, 2), ['a', '502 node-failed']);
  t.equal(node.requests(), 2);
});

for (const method of ['PUT', 'POST', 'DELETE']) {
  t.test(`${method} is never sent twice, even on a kept connection`, async (t) => {
    const ids: string[] = [];
    const node = await rawNode(t, (socket, text) => {
      const heads = text.match(/^[A-Z]+ \/open\/\S+/gm) ?? [];
      const last = heads.at(-1) ?? '';
      if (last.startsWith('GET')) {
        socket.write(response('a'));
        return;
      }
      if (!ids.includes(last)) ids.push(last);
      else t.fail(`${last} must not come twice`);
      socket.resetAndDestroy();
    });
    const stage = await setStage(t, { nodes: [node.address] });
    const socket = await stage.connect();
    t.equal(whoAnswered(await ask(socket)), 'a');
    const text = `${method} /open/patch-1 HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 0\r\n\r\n`;
    t.equal(whoAnswered(await exchange(socket, text, isWhole)), '502 node-failed');
    t.same(ids, [`${method} /open/patch-1`]);
    socket.destroy();
  });
}
