/** Step 1: is this connection's tenant meant, and which of its routes? */

import { type Denial, deny } from '../core/denial.ts';
import type { Facts, RequestHead } from '../core/facts.ts';
import { listMembers, protectedOption } from '../core/headers.ts';
import { decodePath } from '../core/request-target.ts';
import type { RouteParams } from '../core/route-table.ts';
import { MAX_NAME_CHARACTERS } from '../policy/bounded-pattern.ts';
import { matchServerName, type Policy, type Route, type Tenant } from '../policy/policy.ts';

/** Every other field of the head is held against each of them. */
const MAX_CONNECTION_OPTIONS = 64;

export interface Routed {
  readonly tenant: Tenant;
  readonly route: Route;
  readonly params: RouteParams;
  /** Fields that `Connection` names and that therefore end here (RFC 9110 §7.6.1). */
  readonly connectionOptions: readonly string[];
}

/** The tenant is the one the handshake chose; a `Host` that is another name is misdirected (RFC 9110 §15.5.20). */
export function checkTenant(policy: Policy, facts: Facts): Tenant | Denial {
  const { serverName } = facts.connection;
  const match = matchServerName(policy, serverName);
  if (match !== undefined && serverName === facts.head.host) return match.tenant;
  return deny('route', 'misdirected', 'Host is not the server name this connection was made for.');
}

/** The first route with this path that takes this method. */
export function checkRoute(tenant: Tenant, facts: Facts): Routed | Denial {
  const { head } = facts;
  const connectionOptions = listMembers(head.fields, 'connection');
  if (connectionOptions.length > MAX_CONNECTION_OPTIONS)
    return deny('route', 'bad-request', 'Connection names too many fields.');
  const option = protectedOption(connectionOptions);
  if (option !== undefined) return deny('route', 'bad-request', `Connection may not name ${option}.`);
  const match = tenant.routes.match(head.method, head.path);
  if (match.kind === 'none') return notFound();
  if (match.kind === 'method') {
    const { allow } = match;
    return deny('route', 'method-not-allowed', `This path does not take ${head.method}.`, { allow });
  }
  const { route, params } = match;
  return (
    checkEscapes(tenant, route, head) ??
    checkModelName(tenant, params) ?? { tenant, route, params, connectionOptions }
  );
}

function notFound(): Denial {
  return deny('route', 'not-found', 'No route has this path.');
}

/**
 * The path goes upstream undecoded, and whoever decodes it there must find himself on the same route: `/v1/%61dmin`
 * must not pass by `/v1/**` if `/v1/admin` is a route of its own.
 */
function checkEscapes(tenant: Tenant, route: Route, head: RequestHead): Denial | undefined {
  if (head.encodedSlash && !route.encodedSlash) {
    return deny('route', 'bad-request', 'The path holds an encoded slash, which this route does not take.');
  }
  if (!head.path.includes('%')) return undefined;
  const decoded = tenant.routes.match(head.method, decodePath(head.path) ?? '');
  if (decoded.kind === 'found' && decoded.route === route) return undefined;
  return deny('route', 'bad-request', 'The path means another route once it is decoded.');
}

/** A model that cannot exist is answered like a path that does not, before any token is looked at. */
function checkModelName(tenant: Tenant, params: RouteParams): Denial | undefined {
  const model = params['model_id'];
  if (model === undefined) return undefined;
  return model.length <= MAX_NAME_CHARACTERS && tenant.modelId.test(model) ? undefined : notFound();
}
