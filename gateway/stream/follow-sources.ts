/** What a policy follows while it is in force: tenants in etcd, lists and keys, whose changes are told to the log and to whoever stands on them. */

import { formatFault } from '../core/fault.ts';
import type { Accesses } from '../lists/server-access.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { PolicySources } from '../policy/sources.ts';

export interface FollowedSources {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly accesses: Accesses;
  readonly onChange: () => void;
}

/** The sources a gateway loads its policy from; whoever asked for them closes them. */
export function followSources({ log, metrics, accesses, onChange }: FollowedSources): PolicySources {
  return new PolicySources({
    mode: 'follow',
    accesses,
    onList: ({ place, faults }) => {
      for (const fault of faults)
        log.error({ fault: formatFault(fault) }, 'a list is not what its source has');
      if (faults.length === 0) log.info({ list: place }, 'a list was read');
      onChange();
    },
    onTenants: ({ place, revision, fault }) => {
      metrics.etcdTenants(fault === undefined);
      if (fault !== undefined)
        log.error(
          { place, fault },
          'the tenants in etcd cannot be read: what is known of them stays in force',
        );
      else log.info({ place, revision }, 'the tenants in etcd were read');
    },
    keys: {
      onFetch: (issuer, fault) => {
        metrics.jwksFetch(issuer, fault === undefined ? 'fetched' : 'failed');
        if (fault !== undefined) log.warn({ issuer, fault }, 'the keys of an issuer were not fetched');
      },
      onChange: (issuer) => {
        log.info({ issuer }, 'the keys of an issuer have changed');
        onChange();
      },
    },
  });
}
