/** The routes of the sync node: which path and methods lead to which handler. */

import { describeModel, describeVersion, publishVersion, readPatchOf, readWeights } from './model-routes.ts';
import type { NodeRoute } from './node-route.ts';
import { describeUpload, receivePatch } from './patch-routes.ts';
import type { Reply } from './reply.ts';

const MODEL = '/v1/models/(?<model>[^/]+)';
const VERSION = `${MODEL}/versions/(?<version>0|[1-9][0-9]{0,15})`;
const STREAM = `${MODEL}/patches/(?<stream>[^/]+)`;
const READ = ['GET', 'HEAD'];

export const routes: readonly NodeRoute[] = [
  { methods: READ, path: /^\/healthz$/, handle: async () => sayWell() },
  { methods: READ, path: at(MODEL), handle: describeModel },
  { methods: READ, path: at(`${MODEL}/weights`), handle: readWeights },
  { methods: READ, path: at(VERSION), handle: describeVersion },
  { methods: ['POST'], path: at(VERSION), handle: publishVersion },
  { methods: READ, path: at(`${VERSION}/weights`), handle: readWeights },
  { methods: READ, path: at(`${VERSION}/patch`), handle: readPatchOf },
  { methods: ['PUT', 'PATCH'], path: at(STREAM), handle: receivePatch },
  { methods: ['HEAD'], path: at(STREAM), handle: describeUpload },
];

function at(path: string): RegExp {
  return new RegExp(`^${path}$`);
}

function sayWell(): Reply {
  return { status: 200, fields: { 'Content-Type': 'text/plain' }, body: Buffer.from('ok\n') };
}
