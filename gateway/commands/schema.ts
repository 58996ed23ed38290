/** `patchgate schema`: what may be written in a policy file, for editors. */

import { type PolicyFileKind, policyFiles, policySchema } from '../policy/schema.ts';
import { type Command, required, UsageError } from './command.ts';

export const schema: Command = {
  name: 'schema',
  summary: 'print the JSON Schema of gateway.yaml or of a tenant file',
  usage: '--of gateway|tenant',
  options: { of: { type: 'string' } },
  async run(values, terminal) {
    const kind = required(values, 'of');
    if (!isKind(kind)) throw new UsageError(`--of takes ${policyFiles.join(' or ')}`);
    terminal.write(`${JSON.stringify(policySchema(kind), undefined, 2)}\n`);
    return 0;
  },
};

function isKind(text: string): text is PolicyFileKind {
  return policyFiles.some((kind) => kind === text);
}
