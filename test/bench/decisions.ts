/** `decide` with a remembered token and 100,000 prefixes, on policies of ten and of a thousand routes. */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkToken } from '../../gateway/checks/token.ts';
import { parseAddress } from '../../gateway/core/address.ts';
import { isDenial } from '../../gateway/core/denial.ts';
import type { Facts } from '../../gateway/core/facts.ts';
import { decide } from '../../gateway/decide.ts';
import { createTokenIssuer } from '../../gateway/demo/token.ts';
import { certificateFromFields } from '../../gateway/explain/certificate-from-fields.ts';
import { loadPolicy } from '../../gateway/policy/load.ts';
import type { Policy, Tenant } from '../../gateway/policy/policy.ts';
import { SeededRandom } from '../patch/seeded-random.ts';
import { median } from './print.ts';

export interface DecisionResult {
  /** Median microseconds of a decision. */
  readonly fewRoutesUs: number;
  readonly manyRoutesUs: number;
  readonly tokenUs: number;
  /** The first value measured again, divided by itself. */
  readonly noise: number;
}

const FEW = 10;
const MANY = 1000;
const PREFIXES = 100_000;
const DECISIONS = 20_000;
const HOST = 'bench.test';
const ISSUER = 'https://auth.test';
const AUDIENCE = 'weights';

export async function benchDecisions(rounds: number): Promise<DecisionResult> {
  const folder = await mkdtemp(join(tmpdir(), 'patchgate-bench-'));
  try {
    const issuer = await createTokenIssuer();
    const keys = JSON.stringify(issuer.jwks);
    const token = await issuer.sign({
      iss: ISSUER,
      aud: AUDIENCE,
      sub: 'worker',
      scope: 'finetune',
      model_id: 'vision',
    });
    const few = await openPolicy(join(folder, 'few'), FEW, keys);
    const many = await openPolicy(join(folder, 'many'), MANY, keys);
    return await measure(few, many, token, rounds);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(few: Policy, many: Policy, token: string, rounds: number): Promise<DecisionResult> {
  const fewFacts = requestsFor(FEW, token);
  const manyFacts = requestsFor(MANY, token);
  await requireAdmissions(few, fewFacts);
  await requireAdmissions(many, manyFacts);
  const tenant = many.tenants.get('bench') as Tenant;
  const found: { few: number; many: number; token: number; again: number }[] = [];
  for (let round = 0; round < rounds + 2; round++) {
    found.push({
      few: decisionUs(few, fewFacts),
      many: decisionUs(many, manyFacts),
      token: tokenUs(tenant, manyFacts),
      again: decisionUs(few, fewFacts),
    });
  }
  // The code is cold in the first two rounds.
  const counted = found.slice(2);
  return {
    fewRoutesUs: median(counted.map((each) => each.few)),
    manyRoutesUs: median(counted.map((each) => each.many)),
    tokenUs: median(counted.map((each) => each.token)),
    noise: median(counted.map((each) => each.again / each.few)),
  };
}

async function openPolicy(folder: string, routes: number, keys: string): Promise<Policy> {
  const tenants = join(folder, 'tenants');
  await mkdir(tenants, { recursive: true });
  await writeFile(join(tenants, 'keys.json'), keys);
  await writeFile(join(tenants, 'clients.cidr'), prefixes().join('\n'));
  await writeFile(
    join(folder, 'gateway.yaml'),
    'gateway:\n  listeners: [{ name: edge, address: 127.0.0.1:0 }]\n  certificates: .\n',
  );
  await writeFile(join(tenants, 'bench.yaml'), tenantYaml(routes));
  const { policy, faults } = await loadPolicy(folder, Date.now());
  if (policy === undefined || faults.length > 0) throw new Error(JSON.stringify(faults[0]));
  return policy;
}

function prefixes(): readonly string[] {
  const random = new SeededRandom(1);
  const lines = Array.from({ length: PREFIXES - 1 }, () => {
    const [a, b, c] = [random.below(200) + 1, random.below(256), random.below(256)];
    return `${a}.${b}.${c}.0/24`;
  });
  return [...new Set(lines), '203.0.113.0/24'];
}

function tenantYaml(routes: number): string {
  const lines = Array.from(
    { length: routes },
    (_, number) => `  - name: push-${number}
    match: { methods: [PUT], path: '/v1/service-${number}/models/{model_id}/patches/{stream_id}' }
    require: { scope: finetune, claims: { model_id: '{model_id}' } }
    stream: { format: weight-patch, maxBytes: 2GiB }
    upstream: sync
`,
  );
  return `tenant: bench
serverNames: [${HOST}]
addresses: { clients: { file: clients.cidr } }
allow: [clients]
issuers: { main: { issuer: ${ISSUER}, audience: ${AUDIENCE}, keys: { file: keys.json }, algorithms: [ES256] } }
upstreams: { sync: { nodes: ['http://127.0.0.1:1'] } }
routes:
${lines.join('')}`;
}

/** Requests for random routes, each with a head of ten fields. */
function requestsFor(routes: number, token: string): readonly Facts[] {
  const random = new SeededRandom(routes);
  const peer = parseAddress('203.0.113.5');
  if (peer === undefined) throw new Error('no address');
  const certificate = certificateFromFields({
    subject: 'CN=worker',
    alternativeNames: '',
    dnsNames: [],
    uris: [],
    emails: [],
    serialNumber: '1',
    fingerprint: '00'.repeat(32),
  });
  return Array.from({ length: 256 }, (_, number) => {
    const path = `/v1/service-${random.below(routes)}/models/vision/patches/s${number}`;
    return {
      nowMs: Date.now(),
      connection: {
        listener: 'edge',
        serverName: HOST,
        peer,
        peerPort: 1,
        certificate,
        tlsVersion: 'TLSv1.3',
        tlsResumed: false,
      },
      head: {
        method: 'PUT',
        target: path,
        path,
        encodedSlash: false,
        minor: 1,
        host: HOST,
        authority: HOST,
        fields: [...FIELDS, 'Authorization', `Bearer ${token}`],
        framing: { kind: 'length', length: 1000 },
        keepAlive: true,
        expectsContinue: false,
      },
    };
  });
}

const FIELDS = [
  ...['Host', HOST, 'User-Agent', 'worker/1.0', 'Accept', '*/*', 'Accept-Encoding', 'identity'],
  ...['Content-Type', 'application/vnd.patchgate.weight-patch', 'Content-Length', '1000'],
  ...['X-Request-Id', '0f2c1a', 'Traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
  ...['Priority', 'u=3'],
];

async function requireAdmissions(policy: Policy, requests: readonly Facts[]): Promise<void> {
  for (const facts of requests) {
    const decision = await decide(policy, facts);
    if (isDenial(decision)) throw new Error(`${facts.head.path}: ${decision.code} ${decision.detail}`);
  }
}

function decisionUs(policy: Policy, requests: readonly Facts[]): number {
  const startMs = performance.now();
  for (let left = DECISIONS; left > 0; left--) {
    const decision = decide(policy, requests[left % requests.length] as Facts);
    if (decision instanceof Promise) throw new Error('a remembered token made the decision wait');
  }
  return ((performance.now() - startMs) * 1000) / DECISIONS;
}

function tokenUs(tenant: Tenant, requests: readonly Facts[]): number {
  const requirement = tenant.routes.entries[0]?.route.require;
  if (requirement === undefined) throw new Error('no requirement');
  const startMs = performance.now();
  for (let left = DECISIONS; left > 0; left--) {
    const facts = requests[left % requests.length] as Facts;
    const bearer = { address: facts.connection.peer, certificate: undefined };
    if (isDenial(checkToken(tenant, requirement, facts, bearer))) throw new Error('refused');
  }
  return ((performance.now() - startMs) * 1000) / DECISIONS;
}
