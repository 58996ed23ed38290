/** The stack of docker-compose.yml: its files agree on names, addresses and ports, and no service has spare rights. */
import { cpSync, existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { formatFault } from '../../gateway/core/fault.ts';
import { prepareStack } from '../../gateway/demo/prepare-stack.ts';
import { loadPolicy } from '../../gateway/policy/load.ts';
import type { Policy } from '../../gateway/policy/policy.ts';
import { compose, misuse, readText, readYaml, repositoryPath, type Service } from './deployed.ts';

const MADE = './deploy/made';
const services = Object.entries(compose.services);
const gateways = services.filter(([name]) => name.startsWith('gateway-')).map(([, service]) => service);

/** The policy in the folder that the containers see as /etc/patchgate; throws its faults. */
async function layOut(folder: string): Promise<Policy> {
  await prepareStack(folder);
  cpSync(repositoryPath('deploy/policies'), join(folder, 'policies'), { recursive: true });
  const { policy, faults } = await loadPolicy(join(folder, 'policies'), Date.now());
  if (policy === undefined || faults.length > 0) throw new Error(faults.map(formatFault).join('\n'));
  return policy;
}

function addressOf({ networks }: Service, network: string): string {
  return 'length' in networks
    ? ''
    : ((networks as Record<string, { ipv4_address?: string }>)[network]?.ipv4_address ?? '');
}

/** The address a name has in the container according to its extra hosts. */
function resolved({ extra_hosts = [] }: Service, host: string): string | undefined {
  return extra_hosts.find((each) => each.startsWith(`${host}:`))?.slice(host.length + 1);
}

t.test('every service is confined: read-only, without capabilities or root, and bounded', async (t) => {
  for (const [name, service] of services) {
    t.equal(service.read_only, true, name);
    t.same(service.cap_drop, ['ALL'], name);
    t.same(service.security_opt, ['no-new-privileges:true'], name);
    t.match(service.user, /^(?:[1-9]\d*:[1-9]\d*|\$\{PATCHGATE_USER:-1000:1000\})$/, name);
    t.match(service.deploy?.resources.limits, { cpus: /^\d$/, memory: /^\d+[mg]$/ }, name);
    t.ok(service.pids_limit, name);
    t.ok(service.healthcheck !== undefined || service.build === '.', `${name} has a health check`);
  }
});

t.test('images are pinned by version, and ours has that of package.json', async (t) => {
  const { version } = JSON.parse(readText('package.json')) as { readonly version: string };
  for (const [name, { image, build }] of services) {
    if (build === undefined) t.match(image, /:v?\d+\.\d+\.\d+(?:-[a-z]+)?$/, name);
    else t.equal(image, `patchgate:${version}`);
  }
});

t.test('a service is waited for only until its health check succeeds', async (t) => {
  for (const [name, { depends_on = {} }] of services) {
    for (const [needed, { condition }] of Object.entries(depends_on)) {
      t.ok(compose.services[needed], `${name} depends on ${needed}, which exists`);
      t.equal(condition, 'service_healthy');
    }
  }
});

t.test('everything mounted is in the repository or made by npm run stack', async (t) => {
  const folder = t.testdir({});
  await prepareStack(folder);
  const { scripts } = JSON.parse(readText('package.json')) as { readonly scripts: Record<string, string> };
  t.match(scripts['stack'], /^node gateway\/cli\.ts demo --prepare deploy\/made$/);
  const mounted = services.flatMap(([, { volumes = [] }]) => volumes).filter((each) => each.startsWith('.'));
  const secrets = Object.values(compose.secrets).map(({ file }) => file);
  for (const source of [...mounted.map((each) => each.split(':')[0] ?? ''), ...secrets]) {
    const path = source.startsWith(MADE) ? join(folder, source.slice(MADE.length)) : repositoryPath(source);
    t.ok(existsSync(path), source);
  }
  const writable = mounted.filter((each) => !each.endsWith(':ro'));
  t.ok(
    writable.every((each) => each.startsWith(MADE)),
    'the repository is mounted read-only',
  );
  const keys = mounted.filter((each) => each.includes('/certs'));
  t.notOk(
    keys.some((each) => /certs(?:\/dev)?:/.test(each)),
    'no gateway has the key of a caller',
  );
});

t.test('the commands of our own image exist', async (t) => {
  for (const [name, { build, command = [] }] of services)
    if (build !== undefined) t.equal(misuse(command), undefined, name);
});

t.test('gateways, balancer and Prometheus agree on names, addresses and ports', async (t) => {
  const policy = await layOut(t.testdir({}));
  const [listener] = policy.gateway.listeners;
  const { admin } = policy.gateway;
  const balancer = compose.services['balancer'];
  if (listener === undefined || balancer === undefined) throw new Error('a part is missing');
  t.equal(gateways.length, 2);
  const config = readText('deploy/haproxy.cfg');
  const prometheus = readYaml<{
    readonly scrape_configs: readonly [
      { readonly static_configs: readonly [{ readonly targets: readonly string[] }] },
    ];
  }>('deploy/prometheus.yml');
  for (const gateway of gateways) {
    const [edge, watch] = [addressOf(gateway, 'edge'), addressOf(gateway, 'watch')];
    t.equal(resolved(gateway, listener.address.host), edge);
    t.equal(resolved(gateway, admin.host), watch);
    t.equal(gateway.environment?.['PATCHGATE_ADMIN'], `http://${admin.host}:${admin.port}`);
    t.match(config, `${edge}:${listener.address.port} addr ${watch}\n`);
    t.ok(prometheus.scrape_configs[0].static_configs[0].targets.includes(`${watch}:${admin.port}`));
  }
  t.equal(prometheus.scrape_configs[0].static_configs[0].targets.length, gateways.length);
  t.match(config, `check port ${admin.port} `);
  t.match(config, 'send-proxy-v2');
  t.match(config, `bind :${balancer.ports?.[0]?.split(':')[1]}\n`);
  t.match(readText('deploy/policies/gateway.yaml'), `trustedProxies: [${addressOf(balancer, 'edge')}/32]`);
  t.equal(listener.proxyProtocol, 'require');
});

t.test(
  'tenants name nodes that listen there, and the policy names the Redis and etcd of the stack',
  async (t) => {
    const policy = await layOut(t.testdir({}));
    const nodes = [...policy.tenants.values()].flatMap(({ upstreams }) =>
      [...upstreams.values()].flatMap((upstream) => upstream.nodes.map(({ url }) => url)),
    );
    t.same(nodes.toSorted(), ['http://sync-1:7001', 'http://sync-2:7001']);
    for (const url of nodes) {
      const { hostname, port } = new URL(url);
      t.equal(compose.services[hostname]?.command?.at(-1), `0.0.0.0:${port}`);
    }
    const text = readText('deploy/policies/gateway.yaml');
    for (const url of ['redis://redis:6379', 'http://etcd:2379']) {
      t.match(text, url);
      t.same(compose.services[new URL(url).hostname]?.networks, ['state']);
    }
  },
);

t.test('each gateway has its own folder for the audit log', async (t) => {
  const { gateway } = await layOut(t.testdir({}));
  const target = dirname(gateway.audit?.file ?? '');
  const sources = gateways.flatMap(({ volumes = [] }) =>
    volumes.filter((each) => each.endsWith(`:${target}`)),
  );
  t.equal(new Set(sources).size, gateways.length);
});

t.test('a gateway has a worker for each CPU and shares limits in a Redis that evicts nothing', async (t) => {
  const { gateway } = await layOut(t.testdir({}));
  for (const { deploy } of gateways) t.equal(deploy?.resources.limits.cpus, String(gateway.workers));
  t.ok(gateway.state, 'limits are shared');
  const { command = [] } = compose.services['redis'] ?? {};
  t.equal(command[command.indexOf('--maxmemory-policy') + 1], 'noeviction');
});

t.test('only the balancer is reachable from outside, and all other networks are internal', async (t) => {
  for (const [name, { ports = [] }] of services)
    for (const port of ports)
      if (name === 'balancer') t.equal(port, '8443:8443');
      else t.match(port, /^127\.0\.0\.1:/, name);
  for (const name of ['edge', 'nodes', 'state', 'watch'])
    t.equal(compose.networks[name]?.internal, true, name);
});
