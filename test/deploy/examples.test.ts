/** The systemd unit and the Kubernetes example run valid command lines and load a sound policy. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { formatFault } from '../../gateway/core/fault.ts';
import { parseDuration } from '../../gateway/core/units.ts';
import { prepareStack } from '../../gateway/demo/prepare-stack.ts';
import { loadPolicy } from '../../gateway/policy/load.ts';
import { misuse, readDocuments, readText } from './deployed.ts';

const unit = readText('deploy/patchgate.service');
const unitValues = (key: string): readonly string[] =>
  [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value);

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
}

interface Container {
  readonly image: string;
  readonly args: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe: Probe;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
  readonly lifecycle: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } };
  readonly securityContext: object;
}

interface Resource {
  readonly kind: string;
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: {
    readonly template?: {
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly securityContext: object;
        readonly containers: readonly [Container];
      };
    };
  };
}

const resources = readDocuments<Resource>('deploy/kubernetes.yaml');
const policyTexts = resources.find(({ kind }) => kind === 'ConfigMap')?.data ?? {};
const pod = resources.find(({ kind }) => kind === 'Deployment')?.spec?.template?.spec;

/** The policy of the ConfigMap, laid out as the pod sees it, with the certificates and keys of the stack. */
async function loadConfigMap(folder: string) {
  await prepareStack(folder);
  await mkdir(join(folder, 'policies', 'tenants'), { recursive: true });
  for (const [name, text] of Object.entries(policyTexts)) {
    const place = name === 'gateway.yaml' ? name : join('tenants', name);
    await writeFile(join(folder, 'policies', place), text.replaceAll('/etc/patchgate', folder));
  }
  return loadPolicy(join(folder, 'policies'), Date.now());
}

t.test('the systemd unit runs valid command lines and gives the drain enough time', async (t) => {
  for (const line of unitValues('ExecStart')) {
    const [program, ...words] = line.split(' ');
    t.equal(program, '/usr/bin/patchgate');
    t.equal(misuse(words), undefined, line);
  }
  const [, drain = ''] = /drain: (\w+)/.exec(readText('deploy/policies/gateway.yaml')) ?? [];
  const [stop = ''] = unitValues('TimeoutStopSec');
  t.ok(
    (parseDuration(stop) ?? 0) > (parseDuration(drain) ?? Number.POSITIVE_INFINITY),
    `the stop timeout ${stop} exceeds the drain of ${drain}`,
  );
  t.same(unitValues('KillMode'), ['mixed'], 'SIGTERM goes to the gateway, which ends its own workers');
});

t.test('the policy in the ConfigMap has no fault', async (t) => {
  const { policy, faults } = await loadConfigMap(t.testdir({}));
  t.same(faults.map(formatFault), []);
  t.same([...(policy?.tenants.keys() ?? [])], ['tenant-a']);
});

t.test('pods are probed at the admin listener and drain within their grace period', async (t) => {
  const { policy } = await loadConfigMap(t.testdir({}));
  if (pod === undefined || policy === undefined) throw new Error('a part is missing');
  const [container] = pod.containers;
  const ports = new Map(container.ports.map(({ name, containerPort }) => [name, containerPort]));
  t.equal(ports.get('admin'), policy.gateway.admin.port);
  t.equal(ports.get('edge'), policy.gateway.listeners[0]?.address.port);
  t.same(container.livenessProbe.httpGet, { path: '/livez', port: 'admin' });
  for (const probe of [container.startupProbe, container.readinessProbe])
    t.same(probe.httpGet, { path: '/readyz', port: 'admin' });
  const [, preStopMs = ''] =
    /(\d[\d_]*)\)$/.exec(container.lifecycle.preStop.exec.command.at(-1) ?? '') ?? [];
  const needed = Number(preStopMs.replaceAll('_', '')) + policy.gateway.timeouts.drainMs;
  t.ok(pod.terminationGracePeriodSeconds * 1000 > needed);
  t.equal(misuse(container.args), undefined);
});

t.test('pods run without privileges', async (t) => {
  t.match(pod?.securityContext, { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
  t.match(pod?.containers[0].securityContext, {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  });
  const { version } = JSON.parse(readText('package.json')) as { readonly version: string };
  t.equal(pod?.containers[0].image, `patchgate:${version}`);
});
