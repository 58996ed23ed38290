/** Shell lines that repeat by hand what the demo showed. */

import { chmod, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type DevelopmentTenant, serverNameOf } from './development-pki.ts';
import { MODEL, type Stack } from './stack.ts';
import type { Trainer } from './training.ts';

/** Writes the token next to the worker's key and resolves to the lines. `shown` makes a path readable. */
export async function writeCurlLines(
  stack: Stack,
  trainer: Trainer,
  shown: (path: string) => string,
): Promise<readonly string[]> {
  const { certificatePath, keyPath } = stack.pki.workers['tenant-a'];
  const fieldPath = join(dirname(keyPath), 'authorization.txt');
  await writeFile(fieldPath, `Authorization: Bearer ${await stack.token('tenant-a', 'read')}\n`);
  await chmod(fieldPath, 0o600);
  const path = (file: string): string => quoted(shown(file));
  const curl = (tenant: DevelopmentTenant): string => {
    const authority = `${serverNameOf(tenant)}:${stack.port}`;
    return (
      `curl -sS --resolve ${authority}:127.0.0.1 --cacert ${path(stack.pki.caPath)} --cert ${path(certificatePath)} ` +
      `--key ${path(keyPath)} -H @${path(fieldPath)} https://${authority}`
    );
  };
  return [
    '# the model, its version and tensors',
    `${curl('tenant-a')}/v1/models/${MODEL}`,
    '# its weights, compared with the trainer’s',
    `${curl('tenant-a')}/v1/models/${MODEL}/weights | cmp - ${path(trainer.weightsPath)} && echo the same`,
    '# refused: the token may read, not push',
    `${curl('tenant-a')}/v1/models/${MODEL}/patches/${'0'.repeat(32)} -T ${path(trainer.weightsPath)}`,
    '# refused: the certificate is not one of tenant-b’s',
    `${curl('tenant-b')}/v1/models/${MODEL}`,
    '# what the gateway counted, and the policy it runs',
    `curl -s ${stack.admin}/metrics | grep patchgate_decisions_total`,
    `curl -s ${stack.admin}/policy`,
  ];
}

/** Quotes a text for a POSIX shell, if necessary. */
export function quoted(text: string): string {
  return /^[A-Za-z0-9_./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
