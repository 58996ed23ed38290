/** The pull client: fetches a version of a model, as the patches since the local one, or whole. */

import { createReadStream } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { applyPatch } from '../patch/apply.ts';
import { PatchFaultError } from '../patch/fault.ts';
import { modelFileDigest } from '../patch/given-changes.ts';
import { copyAsOneFile } from '../patch/one-file.ts';
import { readPatch } from '../patch/read.ts';
import { openSafetensors, SafetensorsError, syncFolder } from '../patch/safetensors.ts';
import { isInFolder } from '../patch/shards.ts';
import { type Downloaded, type DownloadOptions, download } from './download.ts';
import { type GatewayAddress, GatewayClient } from './gateway-client.ts';
import { fetchDescription, type ModelDescription } from './model-description.ts';
import { TransferError, translated } from './transfer-error.ts';

export interface PullOptions extends GatewayAddress, DownloadOptions {
  readonly modelId: string;
  /** Where the weights go; an existing file is replaced once the new one is complete. */
  readonly outPath: string;
  /** The version to fetch; the current one if absent. */
  readonly version?: number;
  /** Local weights that patches start from, as `openModel` takes them. They are kept, unless this is `outPath`. */
  readonly basePath?: string;
  /** The version `basePath` should be; a different digest is an error. If absent, the digest finds the version. */
  readonly since?: number;
}

export interface PullResult {
  readonly version: number;
  /** Hexadecimal; the file was verified against it. */
  readonly digest: string;
  /** Patches applied; 0 if the whole file was fetched, or was already here. */
  readonly patches: number;
  readonly bytesReceived: number;
  /** The offsets at which cut transfers resumed. */
  readonly resumedAt: readonly number[];
}

/** Fetches the weights, verifies their digest and moves them into place atomically. Throws TransferError. */
export async function pullModel(options: PullOptions): Promise<PullResult> {
  try {
    const gateway = new GatewayClient(options);
    return await pullThrough(gateway, options).finally(() => gateway.close());
  } catch (error) {
    if (options.signal?.aborted) throw new TransferError('the pull was stopped');
    throw translated(error);
  }
}

/** Like `pullModel`, over a client that stays open and without translating errors. */
export async function pullThrough(gateway: GatewayClient, options: PullOptions): Promise<PullResult> {
  const model = await fetchDescription(gateway, options.modelId, options);
  const { version = model.version } = options;
  const digest = version === model.version ? model.digest : digestAt(model, version);
  const made =
    (await here(options, digest)) ??
    (await bySteps(gateway, options, model, version)) ??
    (await whole(gateway, options, version, digest));
  return { version, digest, ...made };
}

type Made = Omit<PullResult, 'version' | 'digest'>;

function digestAt({ versions }: ModelDescription, version: number): string {
  const found = versions.find((each) => each.version === version);
  if (found !== undefined) return found.digest;
  const kept = versions.map((each) => each.version).join(', ');
  throw new TransferError(`the receiver has no version ${version}; it has ${kept}`);
}

/** Returns a result without transfer if the file already is that version. */
async function here({ outPath }: PullOptions, digest: string): Promise<Made | undefined> {
  const held = await digestAtPath(outPath);
  return held === digest ? { patches: 0, bytesReceived: 0, resumedAt: [] } : undefined;
}

async function digestAtPath(path: string): Promise<string | undefined> {
  try {
    return (await modelFileDigest(path)).toString('hex');
  } catch (error) {
    if (error instanceof SafetensorsError) return undefined;
    throw error;
  }
}

/** Applies the patches from the base to the version. Returns undefined if one is not available, or is invalid. */
async function bySteps(
  gateway: GatewayClient,
  options: PullOptions,
  model: ModelDescription,
  version: number,
): Promise<Made | undefined> {
  const { basePath, outPath } = options;
  if (basePath === undefined) return undefined;
  const from = await baseVersion(basePath, options.since, model);
  const steps = from === undefined ? undefined : stepsBetween(model, from, version);
  if (steps === undefined) return undefined;
  const temporary = (name: string): string => `${outPath}.${name}.part`;
  let base = basePath;
  const came: Downloaded[] = [];
  try {
    // What is moved into place is one file, and never the base itself.
    if (steps.length === 0 || (await isInFolder(basePath))) {
      base = temporary('step-1');
      await copyAsOneFile(basePath, base);
    }
    for (const [k, step] of steps.entries()) {
      const made = temporary(`step-${k % 2}`);
      await rm(made, { force: true });
      came.push(await oneStep(gateway, options, { ...step, base, made, patch: temporary('patch') }));
      base = made;
    }
    await inPlace(base, outPath);
    return sum(came, steps.length);
  } catch (error) {
    if (!isUnfit(error)) throw error;
    return undefined;
  } finally {
    for (const name of ['step-0', 'step-1', 'patch']) await rm(temporary(name), { force: true });
  }
}

/** A valid patch does not make the weights of the version: requests may reach different receivers. */
class OtherWeightsError extends Error {}

/** Whether patches do not lead to the version; fetching it whole still may. */
function isUnfit(error: unknown): boolean {
  if (error instanceof PatchFaultError || error instanceof OtherWeightsError) return true;
  return error instanceof TransferError && error.status === 404;
}

/** A version, and the one its patch starts from. */
interface VersionStep {
  readonly from: number;
  readonly to: number;
  /** The digest of the result, hexadecimal. */
  readonly digest: string;
}

/** Finds the version of a file by its digest. Throws TransferError if it is not that of `since`. */
async function baseVersion(
  path: string,
  since: number | undefined,
  { versions }: ModelDescription,
): Promise<number | undefined> {
  const digest = await digestAtPath(path);
  const said = versions.find((each) => each.version === since);
  if (said !== undefined && digest !== undefined && said.digest !== digest) {
    throw new TransferError(`${path} is not version ${since}: its digest is ${digest}, not ${said.digest}`);
  }
  return versions.findLast((each) => each.digest === digest)?.version;
}

/** The patches that lead from one version to another, in order; undefined if one is missing. */
function stepsBetween(
  { versions }: ModelDescription,
  from: number,
  to: number,
): readonly VersionStep[] | undefined {
  const steps: VersionStep[] = [];
  for (let at = to; at !== from; ) {
    const { base, digest } = versions.find((each) => each.version === at) ?? {};
    if (base === undefined || digest === undefined || base >= at) return undefined;
    steps.unshift({ from: base, to: at, digest });
    at = base;
  }
  return steps;
}

async function oneStep(
  gateway: GatewayClient,
  options: PullOptions,
  { from, to, digest, base, made, patch }: VersionStep & Readonly<Record<'base' | 'made' | 'patch', string>>,
): Promise<Downloaded> {
  await rm(patch, { force: true });
  const path = `/v1/models/${options.modelId}/versions/${to}/patch`;
  const came = await download(gateway, path, patch, `"${digest}.patch"`, options);
  const file = await openSafetensors(base);
  const frames = readPatch(createReadStream(patch));
  const expected = { modelId: options.modelId, baseVersion: from, targetVersion: to };
  const applied = await applyPatch(file, frames, made, expected).finally(() => file.close());
  if (applied.digest.toString('hex') !== digest) throw new OtherWeightsError();
  return came;
}

/** Fetches the whole file beside the old one. Resumes what a cut left there, even that of an earlier run. */
async function whole(
  gateway: GatewayClient,
  options: PullOptions,
  version: number,
  digest: string,
): Promise<Made> {
  const part = `${options.outPath}.${digest.slice(0, 16)}.part`;
  await removeParts(options.outPath, part);
  const path = `/v1/models/${options.modelId}/versions/${version}/weights`;
  const came = await download(gateway, path, part, `"${digest}"`, options);
  const held = await digestAtPath(part);
  if (held !== digest) {
    await rm(part, { force: true });
    throw new TransferError(
      `the received file is not version ${version}: its digest is ${held}, not ${digest}`,
    );
  }
  await inPlace(part, options.outPath);
  return sum([came], 0);
}

/** Removes the parts of other versions, which are no longer of use. */
async function removeParts(outPath: string, kept: string): Promise<void> {
  const folder = dirname(outPath);
  const own = `${basename(outPath)}.`;
  for (const name of await readdir(folder)) {
    const isPart = name.startsWith(own) && /^[0-9a-f]{16}\.part$/.test(name.slice(own.length));
    if (isPart && name !== basename(kept)) await rm(join(folder, name), { force: true });
  }
}

async function inPlace(made: string, outPath: string): Promise<void> {
  await rename(made, outPath);
  await syncFolder(dirname(outPath));
}

function sum(came: readonly Downloaded[], patches: number): Made {
  return {
    patches,
    bytesReceived: came.reduce((bytes, { received }) => bytes + received, 0),
    resumedAt: came.flatMap(({ resumedAt }) => resumedAt),
  };
}
