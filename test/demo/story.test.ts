/** The demo tells a true story, and the shell lines it prints work. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import t from 'tap';
import { runDemo } from '../../gateway/demo/story.ts';

const run = promisify(execFile);

function stage(certificatesFolder: string, once: boolean) {
  const stop = new AbortController();
  const output = { text: '' };
  const worked = runDemo({
    certificatesFolder,
    version: 'test',
    write: (text) => {
      output.text += text;
    },
    workingFolder: process.cwd(),
    once,
    colours: false,
    signal: stop.signal,
  });
  return { output, worked, stop: () => stop.abort() };
}

t.test('the demo trains, pushes, proves that weights arrived, and is refused in turn', async (t) => {
  const { output, worked } = stage(t.testdir({}), true);
  t.equal(await worked, true, output.text);
  const epochs = [...output.text.matchAll(/^ +([0-9]) +([0-9.]+) +([0-9.]+) %/gm)];
  t.same(
    epochs.map((match) => match[1]),
    ['1', '2', '3', '4', '5'],
  );
  const losses = epochs.map((match) => Number(match[2]));
  t.ok((losses.at(-1) ?? 9) < 0.5 * (losses[0] ?? 0), 'the loss fell');
  t.match(output.text, /✓ the node's 2,562,440 bytes of weights are the trainer's, bit for bit/);
  for (const code of ['certificate-denied', 'insufficient-scope', 'address-denied']) {
    t.match(output.text, `"code":"${code}"`);
  }
  t.match(output.text, /✓ none of this changed a weight: tenant-a at version 5, tenant-b at version 0/);
  t.notMatch(output.text, /✗/);
});

t.test('the shell lines of the demo work as printed', async (t) => {
  const { output, worked, stop } = stage(t.testdir({}), false);
  t.teardown(stop);
  while (!output.text.includes('/policy\n')) await new Promise((resolve) => setTimeout(resolve, 50));
  const lines = output.text.split('\n').filter((line) => line.startsWith('  curl '));
  const answers: string[] = [];
  for (const line of lines) answers.push((await run('sh', ['-c', line])).stdout);
  t.equal(lines.length, 6);
  const [model, weights, push, stranger, metrics, policy] = answers;
  t.match(JSON.parse(model ?? ''), { model_id: 'topics', version: 5 });
  t.equal(weights, 'the same\n');
  t.match(JSON.parse(push ?? ''), { status: 403, code: 'insufficient-scope' });
  t.match(JSON.parse(stranger ?? ''), { status: 403, code: 'certificate-denied' });
  t.match(metrics, /patchgate_decisions_total\{step="scope",outcome="denied",code="insufficient-scope"\} 2/);
  t.match(JSON.parse(policy ?? ''), { generation: 1, faults: [] });
  stop();
  t.equal(await worked, true);
});
