/** Compiles a tenant's file into the tenant that decisions are based on. */

import type { PolicyFault } from '../core/fault.ts';
import type { ScopeName } from '../core/scope.ts';
import { FailedVerifications } from '../keys/failed-verifications.ts';
import { createTokenMemory } from '../keys/token-memory.ts';
import { addressRules, readAddressLists, unknownLists } from './address-lists.ts';
import { compileNamePattern } from './bounded-pattern.ts';
import { compileIssuers } from './compile-issuers.ts';
import { compileRoutes } from './compile-routes.ts';
import { compileUpstreams } from './compile-upstreams.ts';
import type { ListServers } from './list-sources.ts';
import type { Places } from './places.ts';
import type { Tenant } from './policy.ts';
import { readRevocations } from './revocations.ts';
import { rulePlaces } from './rule-places.ts';
import { isServerName } from './server-name.ts';
import type { RouteFile, TenantFile } from './tenant-file.ts';

/** Keys of a tenant that can cause a refusal or define whom to trust. */
const RULES = ['clientCertificates', 'revocation', 'allow', 'deny', 'issuers', 'scopes'];

/** A tenant compiled from its text; unusable if there are faults. */
export interface CompiledTenant {
  readonly tenant: Omit<Tenant, 'digest' | 'origin'>;
  readonly faults: readonly PolicyFault[];
  /** What is legal but probably unintended. */
  readonly warnings: readonly PolicyFault[];
}

export async function compileTenant(
  places: Places,
  file: TenantFile,
  fileName: string,
  servers: ListServers,
): Promise<CompiledTenant> {
  const { lists, faults: listFaults } = await readAddressLists(places, file.addresses, servers);
  const { faults: revocationFaults, ...revoked } = await readRevocations(places, file.revocation, servers);
  const { issuers, faults: issuerFaults } = await compileIssuers(places, file, servers);
  const { upstreams, faults: upstreamFaults } = compileUpstreams(places, file);
  const { routes, faults: routeFaults } = await compileRoutes(places, file, lists, upstreams);
  const modelId = compileNamePattern(file.modelId);
  const tenant: CompiledTenant['tenant'] = {
    name: file.tenant,
    places: rulePlaces(places, [], RULES),
    serverNames: file.serverNames.map((name) => name.toLowerCase()),
    ...(file.clientCertificates !== undefined && { clientCertificates: file.clientCertificates }),
    ...(file.minTlsVersion !== undefined && { minTlsVersion: file.minTlsVersion }),
    revocation: { ...file.revocation, ...revoked },
    modelId: typeof modelId === 'string' ? /^$/ : modelId,
    addresses: addressRules(lists, file.allow, file.deny),
    lists,
    issuers,
    inclusions: compileInclusions(file.scopes),
    upstreams,
    routes,
    forwardsChains: file.routes.some((route) => route.forwardCertificateChain),
    tokens: createTokenMemory(),
    claimNames: new Set(file.routes.flatMap(claimsAskedFor)),
    failedTokens: new FailedVerifications(file.failedTokensPerAddress),
  };
  const own = [
    ...nameFaults(places, file, fileName),
    ...unknownLists(places, ['allow'], file.allow ?? []),
    ...unknownLists(places, ['deny'], file.deny),
    ...scopeFaults(places, file),
    ...(typeof modelId === 'string' ? [places.at(['modelId'], modelId)] : []),
  ];
  return {
    tenant,
    warnings: unusedLists(places, file),
    faults: [...own, ...listFaults, ...revocationFaults, ...issuerFaults, ...upstreamFaults, ...routeFaults],
  };
}

function claimsAskedFor({ require }: RouteFile): readonly string[] {
  return require === 'none' ? [] : Object.keys(require.claims);
}

function compileInclusions(scopes: TenantFile['scopes']): Tenant['inclusions'] {
  const entries = Object.entries(scopes) as [ScopeName, ScopeName[]][];
  return new Map(entries.map(([scope, included]) => [scope, new Set(included)]));
}

function nameFaults(places: Places, file: TenantFile, fileName: string): PolicyFault[] {
  const faults: PolicyFault[] = [];
  if (`${file.tenant}.yaml` !== fileName) {
    faults.push(
      places.at(['tenant'], `the file of ${file.tenant} is named ${fileName}`, `${file.tenant}.yaml`),
    );
  }
  const seen = new Set<string>();
  for (const [index, name] of file.serverNames.entries()) {
    const lower = name.toLowerCase();
    if (!isServerName(name)) {
      faults.push(
        places.at(['serverNames', index], `${name} is not a server name`, 'a DNS name, or *. and a DNS name'),
      );
    } else if (seen.has(lower)) {
      faults.push(places.at(['serverNames', index], `duplicate server name ${name}`));
    }
    seen.add(lower);
  }
  return faults;
}

/** No other scope may include `publish`, least of all fine-tuning, which is for workers on untrusted networks. */
function scopeFaults(places: Places, file: TenantFile): PolicyFault[] {
  return Object.entries(file.scopes).flatMap(([scope, included]) => {
    const wrong = included.indexOf('publish');
    const twice = included.findIndex((each, index) => included.indexOf(each) < index);
    return [
      ...(wrong < 0 || scope === 'publish'
        ? []
        : [places.at(['scopes', scope, wrong], `${scope} must not include publish`)]),
      ...(twice < 0 ? [] : [places.at(['scopes', scope, twice], `duplicate scope ${included[twice]}`)]),
    ];
  });
}

function unusedLists(places: Places, file: TenantFile): PolicyFault[] {
  const used = new Set([
    ...(file.allow ?? []),
    ...file.deny,
    ...file.routes.flatMap(({ allow }) => allow ?? []),
  ]);
  return Object.keys(file.addresses)
    .filter((name) => !used.has(name))
    .map((name) => places.at(['addresses', name], 'no rule uses this list'));
}
