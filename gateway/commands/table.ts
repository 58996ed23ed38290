/** Every command, in the order of the usage. */

import { audit } from './audit.ts';
import { certs } from './certs.ts';
import { check } from './check.ts';
import type { Command } from './command.ts';
import { demo } from './demo.ts';
import { diff } from './diff.ts';
import { explain } from './explain.ts';
import { node } from './node.ts';
import { patch } from './patch.ts';
import { pull } from './pull.ts';
import { push } from './push.ts';
import { schema } from './schema.ts';
import { serve } from './serve.ts';
import { test } from './test.ts';
import { token } from './token.ts';

export const commands: readonly Command[] = [
  serve,
  check,
  explain,
  test,
  diff,
  certs,
  schema,
  audit,
  token,
  push,
  patch,
  pull,
  node,
  demo,
];
