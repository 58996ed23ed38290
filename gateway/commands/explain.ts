/** `patchgate explain`: why a request is admitted or refused, or which list prefixes match an address. */

import { formatFault } from '../core/fault.ts';
import type { Policy } from '../policy/policy.ts';
import { type Command, type OptionValues, optional, required, UsageError } from './command.ts';

export const explain: Command = {
  name: 'explain',
  summary:
    'decide a request step by step, with the reasons and what would let it pass; without --path or --access-line: show who the client behind the proxies is, and which prefix allows or denies it',
  usage: `--path /PATH --peer ADDRESS [--method GET] [--server-name NAME] [--forwarded VALUE] [--header 'Name: value'] [--body-bytes N]
         [--token-file FILE | --claims JSON] [--certificate FILE] [--time 2026-12-01T00:00:00Z] [--json]
         --access-line LINE|FILE [--json]
         --client-ip ADDRESS | --peer ADDRESS [--forwarded VALUE] [--listener NAME] [--tenant NAME] [--config policies]`,
  options: {
    path: { type: 'string' },
    method: { type: 'string', default: 'GET' },
    'server-name': { type: 'string' },
    header: { type: 'string', multiple: true },
    'body-bytes': { type: 'string' },
    'token-file': { type: 'string' },
    claims: { type: 'string' },
    certificate: { type: 'string' },
    time: { type: 'string' },
    'access-line': { type: 'string' },
    json: { type: 'boolean' },
    'client-ip': { type: 'string' },
    peer: { type: 'string' },
    forwarded: { type: 'string' },
    listener: { type: 'string' },
    tenant: { type: 'string' },
    config: { type: 'string', default: 'policies' },
  },
  async run(values, terminal) {
    if (
      values['access-line'] === undefined &&
      values['client-ip'] === undefined &&
      values['peer'] === undefined
    )
      throw new UsageError('missing --peer, --client-ip or --access-line');
    const { loadPolicy } = await import('../policy/load.ts');
    const { PolicySources } = await import('../policy/sources.ts');
    const { AccessKeeper } = await import('../certificates/access-keeper.ts');
    const sources = new PolicySources({ mode: 'follow', accesses: new AccessKeeper() });
    try {
      const { policy, faults, etcdFaults } = await loadPolicy(required(values, 'config'), Date.now(), {
        sources,
      });
      await sources.refresh();
      for (const fault of [...faults, ...etcdFaults, ...sources.faults])
        terminal.warn(`${formatFault(fault)}\n`);
      if (policy === undefined) return 1;
      return await explainUnder(policy, values, terminal.write);
    } finally {
      sources.close();
    }
  },
};

/** Exit status: 0 allowed, 1 denied. */
async function explainUnder(
  policy: Policy,
  values: OptionValues,
  write: (text: string) => void,
): Promise<number> {
  if (values['access-line'] === undefined && values['path'] === undefined) {
    const { explainAddresses } = await import('./explain-addresses.ts');
    return explainAddresses(policy, values, write) ? 0 : 1;
  }
  const { requestFromFlags, requestFromLine } = await import('./request-from-flags.ts');
  const { explainRequest } = await import('../explain/explanation.ts');
  const { Rehearsal } = await import('../explain/rehearsal.ts');
  const { renderExplanation } = await import('../explain/render.ts');
  const line = optional(values, 'access-line');
  const recorded = line === undefined ? undefined : await requestFromLine(line);
  const request = recorded?.request ?? (await requestFromFlags(policy, values));
  const explanation = await explainRequest(new Rehearsal(policy), request, recorded);
  write(
    values['json'] === true
      ? `${JSON.stringify(explanation, undefined, 2)}\n`
      : renderExplanation(explanation),
  );
  return explanation.verdict === 'admitted' ? 0 : 1;
}
