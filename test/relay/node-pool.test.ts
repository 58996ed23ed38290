/** A pool hands out only connections that can carry a request. */
import t from 'tap';
import { Deadlines } from '../../gateway/core/deadlines.ts';
import { Llhttp } from '../../gateway/http1/llhttp.ts';
import type { NodeConnection } from '../../gateway/relay/node-connection.ts';
import { NodePool } from '../../gateway/relay/node-pool.ts';
import { type NodeRecord, RequestWatch } from '../../gateway/relay/request-watch.ts';
import { namedNode } from '../path/upstream-stage.ts';
import { nodeAt } from './sample-upstream.ts';
import { UNHEARD } from './unheard.ts';

const UNKEPT: NodeRecord = {
  entered: () => undefined,
  owes: () => undefined,
  answered: () => undefined,
  ended: () => undefined,
  failed: () => undefined,
  left: () => undefined,
};

/** Asks on a connection of the pool; resolves to it once the answer is whole, or to why it did not come. */
function ask(pool: NodePool): Promise<NodeConnection | string> {
  return new Promise((resolve) => {
    pool.acquire({
      onConnectFault: ({ reason }) => resolve(reason),
      onConnection: (connection) =>
        connection.begin('GET', 'GET /open/x HTTP/1.1\r\n\r\n', false, {
          ...UNHEARD,
          onBodyEnd: () => resolve(connection),
          onNodeFault: ({ reason }) => resolve(reason),
        }),
    });
  });
}

t.test('a connection that has just been closed for idleness is not given out', async (t) => {
  const node = await namedNode(t, 'a');
  const at = nodeAt(`http://${node.address}`);
  const deadlines = new Deadlines(0);
  const pool = new NodePool(
    { node: at, address: '127.0.0.1' },
    { connectMs: 60_000, maxConnections: 2, idleMs: 100 },
    { llhttp: new Llhttp(), deadlines },
    () => new RequestWatch(UNKEPT, deadlines, 60_000),
    () => undefined,
  );
  const first = await ask(pool);
  t.equal(pool.active, 0);
  t.equal(await ask(pool), first, 'the connection is kept');
  deadlines.sweep(101);
  t.type(await ask(pool), 'object', 'the request is answered');
  t.equal(node.requests(), 3);
  pool.closeIdle();
});
