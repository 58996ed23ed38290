/** An upstream compiled from its nodes alone, for tests that need one. */

import { parseTemplate } from '../../gateway/core/path-template.ts';
import type { NodeAddress, Upstream } from '../../gateway/policy/upstream.ts';

/** `http://host:port`, with the weight 1. */
export function nodeAt(url: string, weight = 1): NodeAddress {
  const { hostname, port } = new URL(url);
  return { url, host: hostname, port: Number(port), secure: false, weight };
}

export function sampleUpstream(urls: readonly string[], more: Partial<Upstream> = {}): Upstream {
  const hashOn = parseTemplate('{model_id}');
  if (hashOn === undefined) throw new Error('the template does not parse');
  return {
    name: 'sync',
    tenant: 'tenant-a',
    nodes: urls.map((url) => nodeAt(url)),
    tls: { minTlsVersion: 'TLSv1.3' },
    balance: 'leastRequests',
    hashOn,
    slowStartMs: 0,
    resolveMs: 30_000,
    breaker: {
      timeoutMs: 800,
      errorThreshold: 50,
      minimumRequests: 10,
      sleepWindowMs: 30_000,
      maxConcurrent: 20,
    },
    connectMs: 1000,
    firstByteMs: 1000,
    maxConnections: 64,
    idleMs: 1000,
    ...more,
  };
}
