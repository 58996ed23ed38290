/** Compiles the TLS settings for connections to other servers. */

import type { PolicyFault } from '../core/fault.ts';
import type { ClientTls } from '../sources/client-tls.ts';
import type { ClientTlsFile } from './client-tls-file.ts';
import { EXPECTED_FOLDER, LEAVES_FOLDER, type Path, type Places } from './places.ts';
import { isServerName } from './server-name.ts';

export function compileClientTls(places: Places, tls: ClientTlsFile | undefined): ClientTls {
  const { serverName, minTlsVersion = 'TLSv1.3' } = tls ?? {};
  const pathOf = (written: string | undefined) =>
    written === undefined ? undefined : places.pathOf(written);
  const [ca, cert, key] = [pathOf(tls?.ca), pathOf(tls?.cert), pathOf(tls?.key)];
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(serverName !== undefined && { serverName: serverName.toLowerCase() }),
    minTlsVersion,
  };
}

/** Returns the faults of `tls`, written at `at`. */
export function clientTlsFaults(places: Places, at: Path, tls: ClientTlsFile): readonly PolicyFault[] {
  const faults: PolicyFault[] = [];
  if ((tls.cert === undefined) !== (tls.key === undefined))
    faults.push(places.at(at, 'has only one of cert and key', 'both or neither'));
  for (const name of ['ca', 'cert', 'key'] as const) {
    const written = tls[name];
    if (written !== undefined && places.pathOf(written) === undefined)
      faults.push(places.at([...at, name], LEAVES_FOLDER, EXPECTED_FOLDER));
  }
  const { serverName } = tls;
  if (serverName !== undefined && (!isServerName(serverName) || serverName.startsWith('*')))
    faults.push(places.at([...at, 'serverName'], `${serverName} is not a server name`, 'a DNS name'));
  return faults;
}
