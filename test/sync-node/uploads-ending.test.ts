/** Uploads end while others begin. */

import { mkdir, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import t from 'tap';
import { put } from './asking.ts';
import { setNode, uploadPath } from './set-node.ts';

t.test('an upload that disappears while uploads are listed disturbs no other', async (t) => {
  const { url, root, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const gone = uploadPath(root, 'ab'.repeat(16));
  await mkdir(dirname(gone), { recursive: true });
  // It is listed but cannot be found, like an upload that another push ends in between.
  await symlink('nowhere', gone);
  t.equal((await put(url, patch)).status, 201);
});
