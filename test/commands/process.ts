/** The command line as a process, and a policy for it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { createAuthority } from '../../gateway/demo/pki.ts';
import { createTokenIssuer } from '../../gateway/demo/token.ts';
import { newFolder } from '../new-folder.ts';
import { gatewayYaml, type StageOptions, sleep, tenantYaml, writeCertificates } from '../path/stage.ts';

export const cli = fileURLToPath(new URL('../../gateway/cli.ts', import.meta.url));

export interface Running {
  readonly child: ChildProcess;
  readonly output: { out: string; err: string };
  readonly ended: Promise<number | string>;
}

export function start(
  t: Test,
  args: readonly string[],
  workingFolder = '.',
  env: Readonly<Record<string, string>> = {},
): Running {
  const child = spawn(process.execPath, [cli, ...args], {
    cwd: workingFolder,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { out: '', err: '' };
  child.stdout?.on('data', (piece: Buffer) => {
    output.out += piece.toString();
  });
  child.stderr?.on('data', (piece: Buffer) => {
    output.err += piece.toString();
  });
  const ended = new Promise<number | string>((resolve) =>
    child.on('close', (status, signal) => resolve(status ?? signal ?? '')),
  );
  t.teardown(() => void child.kill('SIGKILL'));
  return { child, output, ended };
}

export async function run(t: Test, ...args: readonly string[]) {
  const { output, ended } = start(t, args);
  return { status: await ended, ...output };
}

/** Writes a policy that starts, into a folder of its own. */
export async function writePolicy(
  t: Test,
  node: string,
  gateway = '',
  more: Pick<StageOptions, 'routes' | 'upstream'> = {},
) {
  const folder = await newFolder(t);
  const servers = await createAuthority('servers');
  const clients = await createAuthority('clients');
  const worker = await clients.issueClient({ commonName: 'worker' });
  const server = await servers.issueServer({ dnsNames: ['a.test'] });
  await writeCertificates(join(folder, 'certs', 'a.test'), server, clients.certificatePem);
  const tenants = join(folder, 'policies', 'tenants');
  await mkdir(tenants, { recursive: true });
  const tokens = await createTokenIssuer();
  await writeFile(join(tenants, 'keys.json'), JSON.stringify(tokens.jwks));
  await writeFile(join(folder, 'policies', 'gateway.yaml'), gatewayYaml({ gateway }));
  await writeFile(join(tenants, 'tenant-a.yaml'), tenantYaml({ ...more, nodes: [node] }));
  const caller = {
    servername: 'a.test',
    ca: servers.certificatePem,
    cert: worker.certificatePem,
    key: worker.privateKeyPem,
  };
  return { folder, caller, tokens, servers, clients, worker };
}

/** The ports of a gateway, once it says that it is up. */
export async function ports({ output, child }: Running): Promise<{ edge: number; admin: number }> {
  for (let waits = 0; waits < 3000 && child.exitCode === null; waits += 1) {
    const line = output.err.split('\n').find((each) => each.includes('the gateway is up'));
    if (line !== undefined) {
      const { listeners, admin } = JSON.parse(line);
      return { edge: portOf(listeners.edge), admin: portOf(admin) };
    }
    await sleep(10);
  }
  throw new Error(`not up: ${output.err}`);
}

const portOf = (address: string): number => Number(address.split(':').at(-1));
