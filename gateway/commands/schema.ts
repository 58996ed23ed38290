/** `patchgate schema`: the JSON Schema of policy files, for editors. */

import { type Command, required, UsageError } from './command.ts';

export const schema: Command = {
  name: 'schema',
  summary: 'print the JSON Schema of gateway.yaml or of a tenant file',
  usage: '--of gateway|tenant',
  options: { of: { type: 'string' } },
  async run(values, terminal) {
    const of = required(values, 'of');
    const { policyFiles, policySchema } = await import('../policy/schema.ts');
    const kind = policyFiles.find((each) => each === of);
    if (kind === undefined) throw new UsageError(`--of: expected ${policyFiles.join(' or ')}, got ${of}`);
    terminal.write(`${JSON.stringify(policySchema(kind), undefined, 2)}\n`);
    return 0;
  },
};
