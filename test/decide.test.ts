/** The decision is a straight line of checks, cheap and local ones first; whatever one of them refuses is not admitted. */
import t from 'tap';
import { type DenialCode, isDenial, type Step } from '../gateway/core/denial.ts';
import type { ConnectionFacts, Facts, RequestHead } from '../gateway/core/facts.ts';
import { type Decision, decide, type Trail, verificationOf } from '../gateway/decide.ts';
import type { Policy, Tenant } from '../gateway/policy/policy.ts';
import {
  address,
  addressRules,
  bearer,
  certificate,
  entry,
  facts,
  policyOf,
  route,
  scopeFinetune,
  signClaims,
  tenant,
} from './checks/situation.ts';

const push = route('push', {
  require: scopeFinetune,
  certificateNames: ['worker-1.example.com'],
  stream: { format: 'weight-patch', maxBytes: 1000, check: 'deep' },
});
const routes = [
  entry('PUT', '/v1/models/{model_id}/patches/{stream_id}', push),
  entry('GET', '/open', route('open')),
  entry('GET', '/any/{model_id}', route('any')),
  entry(
    'POST',
    '/patches',
    route('patches', {
      require: { scope: 'finetune', claims: new Map() },
      stream: { format: 'weight-patch', check: 'deep' },
    }),
  ),
];
const allowed = { addresses: addressRules(['203.0.113.0/24']) };
const policyA = (): Policy => policyOf(tenant(routes, allowed));
const token = await signClaims({ max_epochs: 5, target_version: 9 });

const patchType = 'application/vnd.patchgate.weight-patch';

const goodHead: Partial<RequestHead> = {
  method: 'PUT',
  path: '/v1/models/m_1/patches/s1',
  fields: [...bearer(token), 'Content-Type', patchType],
  framing: { kind: 'length', length: 1000 },
};
const good = (head: Partial<RequestHead> = {}, connection: Partial<ConnectionFacts> = {}): Facts =>
  facts({ ...goodHead, ...head }, connection);

t.test('a good request is admitted with everything that was found out about it', async (t) => {
  const trail: Trail = {};
  t.match(await decide(policyA(), good(), trail), {
    kind: 'admission',
    tenant: { name: 'tenant-a' },
    route: { name: 'push' },
    params: { model_id: 'm_1', stream_id: 's1' },
    client: { address: { text: '203.0.113.5' } },
    certificate,
    token: { subject: 'worker-1' },
    patch: { modelId: 'm_1', maxEpoch: 5, targetVersion: 9, maxBytes: 1000 },
  });
  t.match(trail, {
    tenant: { name: 'tenant-a' },
    route: { name: 'push' },
    client: {},
    token: { subject: 'worker-1' },
  });
});

t.test('only a token not seen before makes the decision asynchronous', async (t) => {
  const policy = policyA();
  t.type(decide(policy, good()), Promise);
  await decide(policy, good());
  t.match(decide(policy, good()), { kind: 'admission' });
  t.match(decide(policy, facts({ path: '/open' })), { kind: 'admission', token: undefined });
});

interface Wrong {
  readonly step: Step;
  readonly code: DenialCode;
  readonly head?: Partial<RequestHead>;
  readonly connection?: Partial<ConnectionFacts>;
}

const typed = ['Content-Type', patchType];
const proxied = [...(goodHead.fields ?? []), 'X-Forwarded-For', 'nobody'];
/** One fault for each step, in the order of the steps. */
const wrongs: readonly Wrong[] = [
  { step: 'route', code: 'misdirected', head: { host: 'b.example.com' } },
  { step: 'route', code: 'not-found', head: { path: '/v1/models/M/patches/s1' } },
  {
    step: 'client',
    code: 'bad-forwarding',
    head: { fields: proxied },
    connection: { peer: address('10.0.0.1') },
  },
  { step: 'allowlist', code: 'address-denied', connection: { peer: address('198.51.100.1') } },
  { step: 'certificate', code: 'certificate-required', connection: { certificate: { status: 'absent' } } },
  { step: 'token', code: 'token-missing', head: { fields: typed } },
  {
    step: 'scope',
    code: 'insufficient-scope',
    head: { fields: [...bearer(await signClaims({ scope: 'read' })), ...typed] },
  },
  {
    step: 'claims',
    code: 'claim-denied',
    head: { fields: [...bearer(await signClaims({ model_id: 'm_2' })), ...typed] },
  },
  { step: 'limits', code: 'body-too-large', head: { framing: { kind: 'length', length: 1001 } } },
];

const codeOf = (decision: Decision) =>
  isDenial(decision) ? `${decision.step} ${decision.code}` : decision.kind;

t.test('each step refuses with its own code', async (t) => {
  for (const { step, code, head, connection } of wrongs) {
    t.equal(codeOf(await decide(policyA(), good(head, connection))), `${step} ${code}`);
  }
});

t.test('of two faults the one of the earlier step is reported', async (t) => {
  for (const [index, first] of wrongs.entries()) {
    for (const second of wrongs.slice(index + 1)) {
      const head = { ...second.head, ...first.head };
      const both = good(head, { ...second.connection, ...first.connection });
      t.equal(
        codeOf(await decide(policyA(), both)),
        `${first.step} ${first.code}`,
        `the fault is reported before ${second.code}`,
      );
    }
  }
});

t.test('a refused certificate is refused even on a route that asks for no token', async (t) => {
  const refused = { certificate: { status: 'refused', reason: 'expired' } } as const;
  t.equal(
    codeOf(await decide(policyA(), facts({ path: '/open' }, refused))),
    'certificate certificate-denied',
  );
});

t.test('the listener decides whether certificates are required unless the tenant does', async (t) => {
  const absent = { certificate: { status: 'absent' } } as const;
  const open = facts({ path: '/open' }, absent);
  const relaxed = tenant(routes, { ...allowed, clientCertificates: 'optional' });
  const strict = tenant(routes, { ...allowed, clientCertificates: 'require' });
  t.equal(codeOf(await decide(policyA(), open)), 'certificate certificate-required');
  t.equal(codeOf(await decide(policyOf(relaxed), open)), 'admission');
  t.equal(
    codeOf(await decide(policyOf(strict, { clientCertificates: 'none' }), open)),
    'certificate certificate-required',
  );
});

t.test('the model name must have the form of the tenant on open routes too', async (t) => {
  t.equal(codeOf(await decide(policyA(), facts({ path: '/any/m_1' }))), 'admission');
  t.equal(codeOf(await decide(policyA(), facts({ path: '/any/M_1' }))), 'route not-found');
});

t.test('where the path names no model a patch must be for the model of the token', async (t) => {
  const head = { ...goodHead, method: 'POST', path: '/patches' };
  t.match(await decide(policyA(), facts(head)), { patch: { modelId: 'm_1' } });
  const free = [...bearer(await signClaims({ model_id: undefined, max_epochs: 0 })), ...typed];
  const admitted = await decide(policyA(), facts({ ...head, fields: free }));
  t.match(admitted, { kind: 'admission' });
  if (!isDenial(admitted)) t.same(admitted.patch, {}, '0 epochs mean no limit');
});

t.test('the trail ends where the decision does', async (t) => {
  const trail: Trail = {};
  await decide(policyA(), good({}, { peer: address('198.51.100.1') }), trail);
  t.match(trail, { route: { name: 'push' }, client: { address: { text: '198.51.100.1' } } });
  t.notOk('token' in trail);
  const lost: Trail = {};
  await decide(policyA(), good({ host: 'b.example.com' }), lost);
  t.same(lost, {});
});

t.test('neighbouring addresses on either side of a prefix are judged differently', async (t) => {
  for (const [peer, expected] of [
    ['203.0.113.0', 'admission'],
    ['203.0.113.255', 'admission'],
    ['203.0.112.255', 'allowlist address-denied'],
    ['203.0.114.0', 'allowlist address-denied'],
    ['::ffff:203.0.113.9', 'admission'],
  ] as const) {
    t.equal(codeOf(await decide(policyA(), good({}, { peer: address(peer) }))), expected, peer);
  }
});

t.test('a route in shadow admits callers it would refuse and records the denial', async (t) => {
  const shadowed = (more: Partial<Tenant> = {}): Policy =>
    policyOf(
      tenant([entry('PUT', '/v1/models/{model_id}/patches/{stream_id}', { ...push, shadow: true })], {
        ...allowed,
        ...more,
      }),
    );
  const wouldBe = async (given: Facts, policy = shadowed()): Promise<unknown> => {
    const decision = await decide(policy, given);
    return isDenial(decision) ? decision.code : (decision.shadowed?.code ?? 'nothing');
  };
  t.equal(await wouldBe(good()), 'nothing');
  t.equal(await wouldBe(good({}, { peer: address('198.51.100.1') })), 'address-denied');
  t.equal(await wouldBe(good({}, { certificate: { status: 'absent' } })), 'certificate-required');
  t.equal(await wouldBe(good({ fields: ['Content-Type', patchType] })), 'token-missing');
  const narrow = await signClaims({ scope: 'read' });
  const reading = good({ fields: [...bearer(narrow), 'Content-Type', patchType] });
  t.equal(await wouldBe(reading), 'insufficient-scope');
  t.match(
    await decide(shadowed(), reading),
    { token: { subject: 'worker-1' } },
    'the caller is still identified',
  );
  t.equal(
    await wouldBe(good({ framing: { kind: 'length', length: 1001 } })),
    'body-too-large',
    'limits are enforced in shadow too',
  );
  t.equal(await wouldBe(good({ path: '/other' })), 'not-found');
  const trail: Trail = {};
  const bare = { fields: ['Content-Type', patchType], framing: { kind: 'length', length: 1001 } } as const;
  const decision = await decide(shadowed(), good(bare), trail);
  t.match(decision, { code: 'body-too-large' });
  t.match(trail.shadowed, { code: 'token-missing' }, 'the shadowed denial stays on the trail');
  t.match(
    verificationOf(decision, trail),
    { outcome: 'token-missing' },
    'the shadowed denial is the outcome of the token',
  );
});
