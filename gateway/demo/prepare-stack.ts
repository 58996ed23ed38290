/** Writes what docker-compose.yml needs on disk and git does not hold: certificates, issuer keys, tokens, models. */

import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createModel } from '../sync-node/create-model.ts';
import { readState } from '../sync-node/model-state.ts';
import { quoted } from './curl-lines.ts';
import { AUDIENCE, ISSUER } from './demo-policy.ts';
import {
  type DevelopmentPki,
  type DevelopmentTenant,
  developmentTenants,
  serverNameOf,
  writeDevelopmentPki,
} from './development-pki.ts';
import { MODEL } from './stack.ts';
import { createTokenIssuer } from './token.ts';
import { Trainer } from './training.ts';

/** The sync node of each tenant; nodes share no state, so each tenant has only one. */
export const nodeNames = {
  'tenant-a': 'sync-1',
  'tenant-b': 'sync-2',
} as const satisfies Record<DevelopmentTenant, string>;

/** The default `maxLifetime` of an issuer. */
const TOKEN_LIFE_S = 86_400;
const SECRET_MODE = 0o600;
const FOLDER_MODE = 0o700;
const PASSWORD_BYTES = 18;

/**
 * Writes what is missing below `folder`. Tokens, and the keys that sign them, are new each time, and the private key is
 * not stored. Resolves to shell lines that use the stack.
 */
export async function prepareStack(folder: string): Promise<readonly string[]> {
  await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
  for (const name of ['callers', 'etcd', 'keys', 'models', 'nodes', 'audit/gateway-1', 'audit/gateway-2'])
    await mkdir(join(folder, name), { recursive: true, mode: FOLDER_MODE });
  const pki = await writeDevelopmentPki(join(folder, 'certs'));
  await writeTokens(folder, pki);
  await writeModels(folder);
  await writeNew(join(folder, 'grafana-password'), randomBytes(PASSWORD_BYTES).toString('base64url'));
  return shellLines(folder, pki);
}

async function writeTokens(folder: string, { workers }: DevelopmentPki): Promise<void> {
  const tokens = await createTokenIssuer();
  for (const tenant of developmentTenants) {
    const claims = {
      iss: ISSUER,
      aud: AUDIENCE,
      sub: `worker-1.${tenant}`,
      scope: 'read finetune',
      model_id: MODEL,
      cnf: { 'x5t#S256': workers[tenant].thumbprint },
    };
    const token = await tokens.sign(claims, { expiresInS: TOKEN_LIFE_S });
    await writeFile(tokenPath(folder, tenant), `${token}\n`, { mode: SECRET_MODE });
  }
  await writeFile(join(folder, 'keys', 'main.jwks.json'), `${JSON.stringify(tokens.jwks)}\n`);
}

/** Saves a model before and after one epoch; a new node starts with the first. */
async function writeModels(folder: string): Promise<void> {
  const trainer = new Trainer(join(folder, 'models'));
  await trainer.save();
  for (const name of Object.values(nodeNames)) {
    const root = join(folder, 'nodes', name);
    const isThere = (await readState(join(root, MODEL))) !== undefined;
    if (!isThere) await createModel(root, MODEL, trainer.weightsPath);
  }
  await trainer.trainEpoch();
}

/** Keeps an existing file, since running containers may use its content. */
async function writeNew(path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: SECRET_MODE, flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
}

const tokenPath = (folder: string, tenant: DevelopmentTenant): string =>
  join(folder, 'callers', `${tenant}.token`);

function shellLines(folder: string, { caPath, workers }: DevelopmentPki): readonly string[] {
  const { certificatePath, keyPath } = workers['tenant-a'];
  const model = (epoch: number): string => quoted(join(folder, 'models', `epoch-${epoch}.safetensors`));
  const caller =
    `--model ${MODEL} --connect 127.0.0.1:8443 --token @${quoted(tokenPath(folder, 'tenant-a'))} ` +
    `--ca ${quoted(caPath)} --cert ${quoted(certificatePath)} --key ${quoted(keyPath)}`;
  const url = `https://${serverNameOf('tenant-a')}:8443`;
  return [
    '# start everything, as the user who owns these files',
    'PATCHGATE_USER=$(id -u):$(id -g) docker compose up --build --detach --wait',
    '# push an epoch of tenant-a through the balancer and one of the gateways',
    `npm run patchgate -- push --to ${url} --base ${model(0)} --target ${model(1)} ${caller}`,
    '# pull it back',
    `npm run patchgate -- pull --from ${url} --out pulled.safetensors ${caller}`,
  ];
}
