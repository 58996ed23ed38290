/** PEM files that are read together, and their faults. */

import { readFile, stat } from 'node:fs/promises';
import { fileFault, type PolicyFault } from '../core/fault.ts';
import { MIB } from '../core/units.ts';

/** A revocation list of a million certificates takes 50 MB. */
const MAX_BYTES = 64 * MIB;

/** `Name` is what a file is for; each has a path. */
export class PemFiles<Name extends string> {
  readonly faults: PolicyFault[] = [];
  readonly #paths: ReadonlyMap<Name, string>;
  readonly #texts = new Map<Name, string>();

  private constructor(paths: ReadonlyMap<Name, string>) {
    this.#paths = paths;
  }

  /** Reads the files that exist. A missing one is a fault if it is in `required`; an unreadable one always is. */
  static async read<Name extends string>(
    paths: ReadonlyMap<Name, string>,
    required: readonly Name[],
  ): Promise<PemFiles<Name>> {
    const files = new PemFiles(paths);
    for (const [name, path] of paths) {
      try {
        const { size } = await stat(path);
        if (size > MAX_BYTES) files.fault(name, `is larger than ${MAX_BYTES} bytes`);
        else files.#texts.set(name, await readFile(path, 'utf8'));
      } catch (error) {
        const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
        if (code !== 'ENOENT' || required.includes(name)) files.fault(name, `cannot be read: ${code}`);
      }
    }
    return files;
  }

  /** The text of a file, if it was read. */
  text(name: Name): string | undefined {
    return this.#texts.get(name);
  }

  /** Whether the file does not exist and need not. */
  isAbsent(name: Name): boolean {
    const path = this.#paths.get(name) ?? name;
    return !this.#texts.has(name) && !this.faults.some(({ file }) => file === path);
  }

  /** Adds a fault of a file. */
  fault(name: Name, problem: string, expected?: string): void {
    this.faults.push(fileFault(this.#paths.get(name) ?? name, problem, expected));
  }
}
