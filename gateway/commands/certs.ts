/** `patchgate certs`: the certificates of every server name and upstream, their expiry, and which are in use. */

import { type Command, required } from './command.ts';

export const certs: Command = {
  name: 'certs',
  summary:
    'list the certificates of every server name and upstream: names, expiry, authorities, revocation lists',
  usage: '--config policies',
  options: { config: { type: 'string', default: 'policies' } },
  async run(values, terminal) {
    const { listCertificates } = await import('./list-certificates.ts');
    return (await listCertificates(required(values, 'config'), terminal)) ? 0 : 1;
  },
};
