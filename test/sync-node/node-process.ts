/** A sync node as its own process: `node node-process.ts ROOT` prints its address and runs until it is ended. */

import { flushCompileCache } from 'node:module';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';

const [, , root = ''] = process.argv;
// A killed process keeps nothing of what it compiled, and compiling is most of its start.
flushCompileCache();
// A test that is ended by force takes its nodes with it.
process.stdin.resume().once('close', () => process.exit());
process.stdout.write(`${(await startSyncNode({ root })).url}\n`);
