/** The steps of the Dockerfile done by hand in folders: what the image will hold, without a container engine. */

import { cp, mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { runPlainly } from '../commands/plain-process.ts';
import { execWords, readDockerfile, repositoryPath } from './deployed.ts';

/** A finished stage. Paths in the image start at `root`. */
export interface Stage {
  readonly root: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly user: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly healthcheck: readonly string[];
}

interface Building extends Stage {
  readonly workingFolder: string;
}

const EMPTY = { environment: {}, user: 'root', entrypoint: [], command: [], healthcheck: [] };

/** Builds every stage below `folder` and returns the last; npm installs as configured, from its cache if it can. */
export async function buildByHand(folder: string): Promise<Stage> {
  const stages = new Map<string, Building>();
  let current: Building | undefined;
  let name = '';
  for (const step of readDockerfile()) {
    if (step.name === 'FROM') {
      name = / AS (\w+)$/.exec(step.text)?.[1] ?? 'last';
      current = { ...EMPTY, root: join(folder, name), workingFolder: '/' };
      await mkdir(current.root);
    } else if (current === undefined) throw new Error(`${step.name} before FROM`);
    else current = await stepped(current, step.name, step.text, stages);
    stages.set(name, current);
  }
  if (current === undefined) throw new Error('a Dockerfile without a stage');
  return current;
}

/** The stage after one more instruction; throws if the instruction is not known here. */
async function stepped(
  stage: Building,
  name: string,
  text: string,
  stages: ReadonlyMap<string, Building>,
): Promise<Building> {
  switch (name) {
    case 'WORKDIR':
      await mkdir(join(stage.root, text), { recursive: true });
      return { ...stage, workingFolder: text };
    case 'COPY':
      await copy(stage, text, stages);
      return stage;
    case 'RUN':
      run(stage, text);
      return stage;
    case 'ENV': {
      const pairs = text.split(/\s+/).map((pair) => pair.split('=') as [string, string]);
      return { ...stage, environment: { ...stage.environment, ...Object.fromEntries(pairs) } };
    }
    case 'USER':
      return { ...stage, user: text };
    case 'ENTRYPOINT':
      return { ...stage, entrypoint: execWords(text) };
    case 'CMD':
      return { ...stage, command: execWords(text) };
    case 'HEALTHCHECK':
      return { ...stage, healthcheck: execWords(text) };
    case 'EXPOSE':
    case 'STOPSIGNAL':
      return stage;
    default:
      throw new Error(`what does ${name} do?`);
  }
}

/** Copies the content of a folder into the destination; a file keeps its name if that ends with a slash. */
async function copy(
  { root, workingFolder }: Building,
  text: string,
  stages: ReadonlyMap<string, Building>,
): Promise<void> {
  const [, from, rest = ''] = /^(?:--from=(\w+)\s+)?(.*)$/.exec(text) ?? [];
  const words = rest.split(/\s+/);
  const to = words.pop() ?? '';
  for (const source of words) {
    const origin = from === undefined ? repositoryPath(source) : join(stages.get(from)?.root ?? '', source);
    const target = to.endsWith('/') ? join(to, basename(source)) : to;
    await cp(origin, join(root, workingFolder, target), { recursive: true, verbatimSymlinks: true });
  }
}

function run({ root, workingFolder }: Building, text: string): void {
  const PATH = `${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`;
  runPlainly(['sh', '-c', text], {
    cwd: join(root, workingFolder),
    env: { ...process.env, PATH, npm_config_prefer_offline: 'true' },
  });
}
