/** `npm run release`: the tarball, tried where npm has installed it, its bill of materials, and the sums of both. */

import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { billOfMaterials, install, pack, tryInstalled } from './package.ts';

const FOLDER = fileURLToPath(new URL('../../release/', import.meta.url));

rmSync(FOLDER, { recursive: true, force: true });
mkdirSync(FOLDER);
const packed = pack(FOLDER);
const trial = mkdtempSync(join(tmpdir(), 'patchgate-release-'));
const sbomPath = join(FOLDER, `patchgate-${packed.version}.cdx.json`);
let components = 0;
try {
  const { text, sbom } = billOfMaterials(trial);
  writeFileSync(sbomPath, text);
  components = sbom.components.length;
  const { version, check, push, pull, isSame } = await tryInstalled(trial, install(trial, packed));
  process.stdout.write(`${version}\n${check}\n${push}${pull}`);
  if (!isSame) throw new Error('what was pulled is not what was pushed');
} finally {
  rmSync(trial, { recursive: true, force: true });
}
const sums = [packed.path, sbomPath].map(
  (path) => `${createHash('sha256').update(readFileSync(path)).digest('hex')}  ${basename(path)}\n`,
);
writeFileSync(join(FOLDER, 'SHA256SUMS'), sums.join(''));
process.stdout.write(`${packed.files.length} files, ${components} components\n${sums.join('')}`);
