/** `patchgate patch inspect`: the frames, tensors and ratios of a weight patch, and where it is faulty. */

import { resolve } from 'node:path';
import type { PatchCheckMode } from '../patch/check.ts';
import type { Inspection, TensorSummary } from '../patch/inspect.ts';
import { type Command, type Terminal, UsageError } from './command.ts';

const modes: readonly string[] = ['header', 'deep', 'values'] satisfies readonly PatchCheckMode[];

export const patch: Command = {
  name: 'patch',
  summary:
    'print the frames, tensors and ratios of a weight patch on disk; if it is faulty, print the frame as hex and exit 1',
  usage: 'inspect FILE [--check header|deep|values] [--frames] [--json]',
  options: {
    check: { type: 'string', default: 'deep' },
    frames: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
  takesWords: true,
  async run(values, terminal, [verb, file, ...more]) {
    if (verb !== 'inspect') throw new UsageError(`expected subcommand inspect, got ${verb ?? 'none'}`);
    if (file === undefined || more.length > 0) throw new UsageError('inspect: expected exactly one FILE');
    const mode = modes.find((each) => each === values['check']) as PatchCheckMode | undefined;
    if (mode === undefined)
      throw new UsageError(`--check: expected header, deep or values, got ${values['check']}`);
    const { inspectPatch } = await import('../patch/inspect.ts');
    const path = resolve(terminal.workingFolder, file);
    const inspection = await inspectPatch(path, mode, (frame, type) => {
      if (!values['frames'] || values['json']) return;
      terminal.write(
        `frame ${frame.sequence} at ${frame.streamOffset}: ${type.toUpperCase()}, ${frame.headerLength} + ${frame.payloadLength} bytes\n`,
      );
    });
    if (values['json']) terminal.write(`${JSON.stringify(forPrograms(file, inspection))}\n`);
    else await tell(file, inspection, terminal);
    return inspection.faulty === undefined ? 0 : 1;
  },
};

function forPrograms(file: string, { open, end, faulty, tensors, ...sums }: Inspection): object {
  return {
    file,
    ...sums,
    wholeBytes: wholeBytes(tensors),
    ...(open !== undefined && {
      open: { ...open, streamId: open.streamId.toString('hex'), baseDigest: open.baseDigest.toString('hex') },
    }),
    tensors,
    ...(end !== undefined && { targetDigest: end.targetDigest.toString('hex') }),
    ...(faulty !== undefined && {
      fault: {
        ...faulty.fault,
        ...(faulty.field && { field: faulty.field[0], at: faulty.fault.offset + faulty.field[1] }),
        bytes: faulty.bytes.toString('hex', 0, 64),
      },
    }),
  };
}

async function tell(file: string, inspection: Inspection, terminal: Terminal): Promise<void> {
  const { bytes, frames, open, tensors, changed, end, faulty } = inspection;
  const line = (label: string, text: string): void => terminal.write(`${label.padEnd(8)}${text}\n`);
  terminal.write(`${printable(file)}: ${number(bytes)} bytes, ${number(frames)} good frames\n`);
  if (open !== undefined) {
    const versions = `version ${open.baseVersion} → ${open.targetVersion}, epoch ${open.epoch}`;
    line('open', `model ${printable(open.modelId)}, ${versions}, ${number(open.totalParams)} parameters`);
    line('', `stream ${open.streamId.toString('hex')}, base ${open.baseDigest.toString('hex')}`);
  }
  for (const tensor of tensors) line('tensor', describe(tensor));
  if (changed > 0) {
    const whole = wholeBytes(tensors);
    const ratio = `1/${(whole / bytes).toFixed(1)} of the ${number(whole)} bytes of its tensors`;
    line('total', `${number(changed)} changes, ${(bytes / changed).toFixed(2)} bytes each; ${ratio}`);
  }
  if (end !== undefined)
    line('end', `all checksums and the chain are correct, target ${end.targetDigest.toString('hex')}`);
  if (faulty === undefined) return;
  const { hexView } = await import('../patch/header-layout.ts');
  const { rule, status, frame, offset, detail } = faulty.fault;
  line('fault', `${rule} (${status}) in frame ${frame} at byte ${offset}: ${printable(detail)}`);
  for (const row of hexView(faulty.bytes, offset, faulty.field)) terminal.write(`  ${row}\n`);
}

function describe(tensor: TensorSummary): string {
  const { id, name, dtype, words, shape, elements, patches, changed, valueBytes, indexBytes } = tensor;
  const what = `${id} ${printable(name)} ${dtype}${words ? ' in words' : ''} [${shape.join(', ')}]`;
  if (changed === 0) return `${what}: nothing changed`;
  const share = `${number(changed)} of ${number(elements)} changed (${((100 * changed) / elements).toPrecision(3)} %)`;
  const forms = [tensor.operations, tensor.indices, tensor.values].map(told).join('; ');
  const each = `${(valueBytes / changed).toFixed(2)} + ${(indexBytes / changed).toFixed(2)} bytes a change`;
  return `${what}: ${share} in ${number(patches)} frames: ${forms}; ${each}`;
}

function told(counts: Readonly<Record<string, number | undefined>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}

/** Size of the patched tensors in bytes: what sending them whole would take. */
function wholeBytes(tensors: readonly TensorSummary[]): number {
  return tensors.reduce((sum, { tensorBytes }) => sum + tensorBytes, 0);
}

const number = (value: number): string => value.toLocaleString('en-US');

/** Escapes control and format characters: names come from the author of the patch, and a terminal may act on them. */
function printable(text: string): string {
  return text.replaceAll(
    /\p{C}/gu,
    (each) => `\\u${(each.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  );
}
