/** Step 1: is the request for the tenant of its connection, and for which of its routes? */

import { type Denial, deny } from '../core/denial.ts';
import type { Facts, RequestHead } from '../core/facts.ts';
import { listMembers, protectedOption } from '../core/headers.ts';
import { decodePath } from '../core/request-target.ts';
import type { RouteParams } from '../core/route-table.ts';
import { MAX_NAME_CHARACTERS } from '../policy/bounded-pattern.ts';
import { matchServerName, type Policy, type Route, type Tenant } from '../policy/policy.ts';

/** Bounds the cost of comparing every field of the head with each of them. */
const MAX_CONNECTION_OPTIONS = 64;

export interface Routed {
  readonly tenant: Tenant;
  readonly route: Route;
  readonly params: RouteParams;
  /** Fields that `Connection` names and that are therefore not forwarded (RFC 9110 §7.6.1). */
  readonly connectionOptions: readonly string[];
}

/** The tenant the handshake chose. A `Host` other than the server name is misdirected (RFC 9110 §15.5.20). */
export function checkTenant(policy: Policy, facts: Facts): Tenant | Denial {
  const { serverName } = facts.connection;
  const match = matchServerName(policy, serverName);
  if (match !== undefined && serverName === facts.head.host) return match.tenant;
  return deny('route', 'misdirected', 'Host does not match the server name of this connection.');
}

/** The first route that matches path and method. */
export function checkRoute(tenant: Tenant, facts: Facts): Routed | Denial {
  const { head } = facts;
  const connectionOptions = listMembers(head.fields, 'connection');
  if (connectionOptions.length > MAX_CONNECTION_OPTIONS)
    return deny('route', 'bad-request', 'Connection names too many fields.');
  const option = protectedOption(connectionOptions);
  if (option !== undefined) return deny('route', 'bad-request', `Connection must not name ${option}.`);
  const match = tenant.routes.match(head.method, head.path);
  if (match.kind === 'none') return notFound();
  if (match.kind === 'method') {
    const { allow } = match;
    return deny('route', 'method-not-allowed', `This path does not allow ${head.method}.`, { allow });
  }
  const { route, params } = match;
  return (
    checkEscapes(tenant, route, head) ??
    checkModelName(tenant, params) ?? { tenant, route, params, connectionOptions }
  );
}

function notFound(): Denial {
  return deny('route', 'not-found', 'No route matches this path.');
}

/**
 * The path goes upstream undecoded, and must match the same route after the node decodes it: `/v1/%61dmin` must not
 * pass by `/v1/**` if `/v1/admin` is a route of its own.
 */
function checkEscapes(tenant: Tenant, route: Route, head: RequestHead): Denial | undefined {
  if (head.encodedSlash && !route.encodedSlash) {
    return deny('route', 'bad-request', 'The path has an encoded slash, which this route does not allow.');
  }
  if (!head.path.includes('%')) return undefined;
  const decoded = tenant.routes.match(head.method, decodePath(head.path) ?? '');
  if (decoded.kind === 'found' && decoded.route === route) return undefined;
  return deny('route', 'bad-request', 'The decoded path matches a different route.');
}

/** A model name that cannot exist is refused like an unknown path, before any token is read. */
function checkModelName(tenant: Tenant, params: RouteParams): Denial | undefined {
  const model = params['model_id'];
  if (model === undefined) return undefined;
  return model.length <= MAX_NAME_CHARACTERS && tenant.modelId.test(model) ? undefined : notFound();
}
