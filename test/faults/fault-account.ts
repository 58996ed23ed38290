/** What a gateway reported of a fault and what it still holds, from its access log and its admin listener. */

import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Stage } from '../path/stage.ts';

type Told = Pick<Stage, 'admin' | 'log'>;

interface Sample {
  readonly labels: string;
  readonly value: number;
}

/** Requests made beside the fault have lines too. */
const BESIDE = /^\/(?:well|open)\//;

/**
 * `ended_by` and the code or status of the requests that met the fault: one line of the log and one observation each,
 * which must agree. Without a request: the outcomes of the handshakes.
 */
export async function accountOf({ log, admin }: Told): Promise<{ text: string; cause: unknown }> {
  const scraped = await page(admin, '/metrics');
  const counted = samples(scraped, 'patchgate_requests_total');
  const all = await log(sumOf(counted));
  const lines = all.filter((line) => !BESIDE.test(String(line['url.path'])));
  const observed = counted
    .filter(({ labels }) => !/route="[^"]*(?:well|open)"/.test(labels))
    .flatMap(({ labels, value }) => new Array<string>(value).fill(labelOf(labels, 'code')));
  const logged = lines.map((line) => String(line['http.response.status_code']));
  if (logged.sort().join() !== observed.sort().join())
    return { text: `logged ${logged.join()}, observed ${observed.join()}`, cause: undefined };
  if (lines.length === 0) return { text: `no request${handshakes(scraped)}`, cause: undefined };
  const said = lines.map(
    (line) => `${line['ended_by']}, ${line['denial.code'] ?? line['http.response.status_code']}`,
  );
  return {
    text: [...new Set(said)].sort().join(' or '),
    cause: lines.find((line) => line['cause'] !== undefined)?.['cause'],
  };
}

function handshakes(scraped: string): string {
  const [failed] = samples(scraped, 'patchgate_tls_handshakes_total').filter(
    ({ labels }) => labelOf(labels, 'outcome') !== 'accepted',
  );
  if (failed === undefined) return '';
  const times = failed.value === 1 ? '' : `${failed.value} × `;
  return `: ${times}handshake ${labelOf(failed.labels, 'outcome')}`;
}

/** What the gateway says it holds: streams, connections of callers, bytes, requests at nodes. */
export async function held({ admin }: Told): Promise<string> {
  const scraped = await page(admin, '/metrics');
  const sums = ['patchgate_streams_active', 'patchgate_open_connections', 'patchgate_buffered_bytes'].map(
    (metric) => sumOf(samples(scraped, metric)),
  );
  const upstreams: { nodes: { addresses: { active: number }[] }[] }[] = JSON.parse(
    await page(admin, '/nodes'),
  );
  const addresses = upstreams.flatMap(({ nodes }) => nodes.flatMap((node) => node.addresses));
  return [...sums, addresses.reduce((sum, { active }) => sum + active, 0)].join(' ');
}

/** Connections of callers that are open. */
export async function openConnections({ admin }: Told): Promise<number> {
  return sumOf(samples(await page(admin, '/metrics'), 'patchgate_open_connections'));
}

/** A page of the admin listener, on a connection that is not kept. */
function page(admin: string, path: string): Promise<string> {
  const outgoing = request(`${admin}${path}`, { agent: false, headers: { connection: 'close' } });
  outgoing.end();
  return new Promise((resolve, reject) => {
    outgoing.on('error', reject);
    outgoing.on('response', (response) => void text(response).then(resolve, reject));
  });
}

function samples(scraped: string, metric: string): readonly Sample[] {
  return scraped
    .split('\n')
    .filter((line) => line.startsWith(`${metric}{`) || line.startsWith(`${metric} `))
    .map((line) => ({
      labels: line.slice(metric.length, line.lastIndexOf(' ')),
      value: Number(line.slice(line.lastIndexOf(' '))),
    }));
}

const sumOf = (all: readonly Sample[]): number => all.reduce((sum, { value }) => sum + value, 0);

const labelOf = (labels: string, name: string): string =>
  new RegExp(`[{,]${name}="([^"]*)"`).exec(labels)?.[1] ?? '';
