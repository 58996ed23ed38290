/** The chart of a run: the ratio of patchgate's cost to each rival's, for each load. SVG, for dark and light mode. */

import type { LoadResult, Results } from './results.ts';

const WIDTH = 760;
const LEFT = 170;
const RIGHT = 90;
const BAR = 16;
const GAP = 6;
const LOAD_GAP = 16;
const TOP = 60;
const TITLE = 22;
/** The right end of the scale: twice the rival's cost. */
const MOST = 2;

const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .load { font-weight: 600; }
  .bar { fill: #1a7f64; }
  .over { fill: #b35900; }
  .range { stroke: #1f2328; stroke-width: 1.5; }
  .line { stroke: #6e7781; stroke-dasharray: 4 3; }
  .goal { stroke: #8250df; stroke-width: 2.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .bar { fill: #3fb68b; }
    .over { fill: #e0914a; }
    .range { stroke: #e6edf3; }
    .line { stroke: #9198a1; }
    .goal { stroke: #b392f0; }
  }`;

const scale = (ratio: number): number => LEFT + (Math.min(ratio, MOST) / MOST) * (WIDTH - LEFT - RIGHT);

export function chart(results: Results): string {
  const rows: string[] = [];
  let y = TOP;
  for (const load of results.loads) {
    rows.push(`<text class="load" x="8" y="${y + 12}">${escaped(load.name)}</text>`);
    y += TITLE;
    for (const rival of load.rivals) {
      rows.push(bar(rival, y));
      y += BAR + GAP;
    }
    y += LOAD_GAP - GAP;
  }
  const height = y + 8;
  const one = scale(1);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title description">
<title id="title">CPU of patchgate divided by that of each rival, ${results.date.slice(0, 10)}</title>
<desc id="description">${escaped(results.loads.map(told).join(' '))}</desc>
<style>${STYLE}
</style>
<text x="8" y="20">CPU of patchgate ÷ CPU of the other, the same work in the same run; shorter is cheaper. Violet: the goal.</text>
<line class="line" x1="${one}" y1="${TOP - 12}" x2="${one}" y2="${height - 8}"/>
<text x="${one}" y="${TOP - 14}" text-anchor="middle">1</text>
${rows.join('\n')}
</svg>
`;
}

function bar({ name, ratio, goal }: LoadResult['rivals'][number], y: number): string {
  const middle = y + BAR / 2;
  const end = scale(ratio.median);
  const kind = ratio.median > 1 ? 'bar over' : 'bar';
  const goalLine =
    goal === undefined
      ? ''
      : `<line class="goal" x1="${scale(goal)}" y1="${y - 2}" x2="${scale(goal)}" y2="${y + BAR + 2}"/>`;
  return (
    `<text x="${LEFT - 8}" y="${y + 12}" text-anchor="end">${escaped(name)}</text>` +
    `<rect class="${kind}" x="${LEFT}" y="${y}" width="${(end - LEFT).toFixed(1)}" height="${BAR}" rx="2"/>` +
    `<line class="range" x1="${scale(ratio.min).toFixed(1)}" y1="${middle}" x2="${scale(ratio.max).toFixed(1)}" y2="${middle}"/>` +
    goalLine +
    `<text x="${WIDTH - RIGHT + 8}" y="${y + 12}">${ratio.median.toFixed(2)}</text>`
  );
}

function told({ name, rivals }: LoadResult): string {
  return `${name}: ${rivals.map(({ name: rival, ratio }) => `${ratio.median} of ${rival}`).join(', ')}.`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
