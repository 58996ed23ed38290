/** Reads the files of a policy folder as texts, without parsing them. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A text, or why it cannot be read. */
export type Text = string | { readonly problem: string };

export interface TenantText {
  /** Display name: the path of a file, or `etcd /key`. */
  readonly place: string;
  /** `<tenant>.yaml`. */
  readonly fileName: string;
  readonly text: Text;
}

export interface PolicyFiles {
  readonly gateway: { readonly place: string; readonly text: Text };
  readonly tenants: {
    readonly folder: string;
    /** Sorted by name; or why the folder cannot be read. */
    readonly texts: readonly TenantText[] | { readonly problem: string };
  };
}

export async function readPolicyFiles(folder: string): Promise<PolicyFiles> {
  const place = join(folder, 'gateway.yaml');
  const tenants = join(folder, 'tenants');
  return {
    gateway: { place, text: await textOf(place) },
    tenants: { folder: tenants, texts: await tenantTexts(tenants) },
  };
}

async function tenantTexts(folder: string): Promise<PolicyFiles['tenants']['texts']> {
  try {
    const names = (await readdir(folder)).filter((name) => /\.ya?ml$/.test(name)).sort();
    const texts: TenantText[] = [];
    for (const fileName of names) {
      const place = join(folder, fileName);
      texts.push({ place, fileName, text: await textOf(place) });
    }
    return texts;
  } catch (error) {
    return unreadable(error);
  }
}

function textOf(path: string): Promise<Text> {
  return readFile(path, 'utf8').catch(unreadable);
}

function unreadable(error: unknown): { readonly problem: string } {
  const reason = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  return { problem: `cannot be read: ${reason}` };
}
