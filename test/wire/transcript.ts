/** Reads the conversations in `*.md`: who says what to whom, byte for byte. README.md beside it has the notation. */

/** `>>` caller to gateway, `->` gateway to node, `<-` node to gateway, `<<` gateway to caller. */
export type Direction = '>>' | '->' | '<-' | '<<';

export interface Step {
  readonly direction: Direction;
  /** The bytes, one per character. */
  readonly bytes: string;
  /** What happens to the connection after the bytes. */
  readonly ending: 'open' | 'closed' | 'reset';
}

export interface Transcript {
  readonly title: string;
  readonly line: number;
  readonly steps: readonly Step[];
}

const LINE = /^(>>|->|<-|<<)(?: (.*))?$/;

/** Every fenced block below a `##` title. Throws if a line of a block has no notation. */
export function readTranscripts(file: string, markdown: string): readonly Transcript[] {
  const transcripts: Transcript[] = [];
  let title = '';
  let block: { direction: Direction; text: string }[] | undefined;
  for (const [index, line] of markdown.split('\n').entries()) {
    if (line.startsWith('## ')) title = line.slice(3);
    else if (line.startsWith('```') && block === undefined) block = [];
    else if (line.startsWith('```') && block !== undefined) {
      transcripts.push({ title, line: index + 1, steps: joined(block) });
      block = undefined;
    } else if (block !== undefined) {
      const [, direction, text = ''] = LINE.exec(line) ?? [];
      if (direction === undefined) throw new Error(`${file}:${index + 1}: in no notation: ${line}`);
      block.push({ direction: direction as Direction, text });
    }
  }
  return transcripts;
}

/** Consecutive lines of one direction form one step, unless the connection ended in between. */
function joined(lines: readonly { direction: Direction; text: string }[]): Step[] {
  const steps: Step[] = [];
  for (const { direction, text } of lines) {
    const last = steps.at(-1);
    const end = /^\((closed|reset)\)$/.exec(text)?.[1] as Step['ending'] | undefined;
    const bytes = end === undefined ? lineBytes(text) : '';
    if (last?.direction === direction && last.ending === 'open') {
      steps[steps.length - 1] = { direction, bytes: last.bytes + bytes, ending: end ?? 'open' };
    } else {
      steps.push({ direction, bytes, ending: end ?? 'open' });
    }
  }
  return steps;
}

const ESCAPES: Readonly<Record<string, string>> = { r: '\r', n: '\n', t: '\t', '\\': '\\' };

/** A line ends with CR LF unless a backslash is its last character. */
function lineBytes(text: string): string {
  const open = /(?<!\\)(?:\\\\)*\\$/.test(text);
  const bytes = (open ? text.slice(0, -1) : text)
    .replaceAll(/\\(?:x([0-9a-f]{2})|([rnt\\]))/gi, (_, hex: string | undefined, letter: string) =>
      hex === undefined ? (ESCAPES[letter] ?? '') : String.fromCharCode(Number.parseInt(hex, 16)),
    )
    .replaceAll(/\{(.)\*(\d+)\}/g, (_, piece: string, count: string) => piece.repeat(Number(count)));
  return open ? bytes : `${bytes}\r\n`;
}
