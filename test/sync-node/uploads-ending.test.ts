/** Uploads come and go while others begin. */

import { mkdir, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import t from 'tap';
import { put } from './asking.ts';
import { setNode, uploadPath } from './set-node.ts';

t.test('an upload that is gone by the time it is looked at disturbs no other', async (t) => {
  const { url, root, training } = await setNode(t);
  const patch = await training.patch(0, await training.train());
  const gone = uploadPath(root, 'ab'.repeat(16));
  await mkdir(dirname(gone), { recursive: true });
  // Listed, and not to be found: what another push that ends looks like in between.
  await symlink('nowhere', gone);
  t.equal((await put(url, patch)).status, 201);
});
