/** Clients of others that keep and offer any session: openssl s_client, and a Node before 22 if there is one. */

import { execFileSync, spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { IssuedPair } from '../../gateway/demo/pki.ts';

export type SessionVersion = 'TLSv1.2' | 'TLSv1.3';

export interface Visit {
  readonly port: number;
  readonly version: SessionVersion;
  readonly name: string;
  readonly worker?: IssuedPair;
  /** Session files: one to offer, and one to write the session of this visit to. */
  readonly offer?: string;
  readonly keep?: string;
}

export interface Visited {
  readonly resumed: boolean;
  /** The status of one request, empty if the connection was refused. */
  readonly answer: string;
}

export interface Visitor {
  readonly client: string;
  /** Keys and certificates are put into `folder`. */
  visit(visit: Visit, folder: string): Promise<Visited>;
}

const requestTo = (name: string): string =>
  `GET /open/x HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`;
const statusIn = (text: string): string => /HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? '';

const openssl: Visitor = {
  client: 'openssl',
  async visit({ port, version, name, worker, offer, keep }, folder) {
    const protocol = `-${version.toLowerCase().replace('v', '').replace('.', '_')}`;
    const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', name, protocol, '-ign_eof'];
    if (worker !== undefined) {
      const files = [join(folder, 'worker.pem'), join(folder, 'worker.key')] as const;
      await writeFile(files[0], worker.certificatePem);
      await writeFile(files[1], worker.privateKeyPem);
      args.push('-cert', files[0], '-key', files[1]);
    }
    if (offer !== undefined) args.push('-sess_in', offer);
    if (keep !== undefined) args.push('-sess_out', keep);
    const output = await run('openssl', args, requestTo(name));
    return { resumed: /^Reused, /m.test(output), answer: statusIn(output) };
  },
};

/** Every visitor available on this machine; openssl always is. */
export function sessionVisitors(): readonly Visitor[] {
  const old = oldNode();
  return old === undefined ? [openssl] : [openssl, old];
}

/** The first Node on the path that offers a session under another name. */
function oldNode(): Visitor | undefined {
  const script = fileURLToPath(new URL('session-client.cjs', import.meta.url));
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const executable = join(folder, 'node');
    const version = versionOf(executable);
    if (version === undefined || version >= 22) continue;
    return {
      client: `node ${version}`,
      async visit({ port, version: protocol, name, worker, offer, keep }) {
        const options = {
          host: '127.0.0.1',
          port,
          servername: name,
          minVersion: protocol,
          maxVersion: protocol,
          ...(worker !== undefined && { cert: worker.certificatePem, key: worker.privateKeyPem }),
          ...(offer !== undefined && { offer: `${offer}.node` }),
          ...(keep !== undefined && { keep: `${keep}.node` }),
          request: requestTo(name),
        };
        const output = await run(executable, [script, JSON.stringify(options)], '');
        const { resumed, answer } = JSON.parse(output) as { resumed: boolean; answer: string };
        return { resumed, answer: statusIn(answer) };
      },
    };
  }
  return undefined;
}

/** The major version, or undefined if it cannot be run. */
function versionOf(executable: string): number | undefined {
  try {
    return Number(/^v(\d+)/.exec(execFileSync(executable, ['--version'], { encoding: 'utf8' }))?.[1]);
  } catch {
    return undefined;
  }
}

async function run(executable: string, args: readonly string[], input: string): Promise<string> {
  const child = spawn(executable, args, { env: { PATH: process.env['PATH'] } });
  let output = '';
  child.stdout.on('data', (piece: Buffer) => {
    output += piece.toString('latin1');
  });
  child.stderr.resume();
  child.stdin.on('error', () => undefined);
  child.stdin.write(input);
  await new Promise((resolve) => child.on('close', resolve));
  return output;
}

/** Whether any session was given out. */
export async function wasKept(file: string): Promise<boolean> {
  const texts = await Promise.all(
    [file, `${file}.node`].map((each) => readFile(each).catch(() => undefined)),
  );
  return texts.some((text) => text !== undefined);
}
