/** Every command, in the order of the usage. */

import { check } from './check.ts';
import type { Command } from './command.ts';
import { demo } from './demo.ts';
import { node } from './node.ts';
import { push } from './push.ts';
import { serve } from './serve.ts';

export const commands: readonly Command[] = [serve, check, push, node, demo];
