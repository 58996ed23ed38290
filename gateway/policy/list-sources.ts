/** Sources of a tenant's lists outside its own file: another file, etcd or Redis. */

import type { PolicyFault } from '../core/fault.ts';
import type { EtcdAddress } from '../lists/etcd-server.ts';
import { UNREADABLE } from '../lists/file-feed.ts';
import type { ListSource, SourceList } from '../lists/list-registry.ts';
import type { ListReader, LiveContents } from '../lists/live-list.ts';
import type { RedisAddress } from '../lists/redis-server.ts';
import { EXPECTED_FOLDER, LEAVES_FOLDER, type Path, type Places } from './places.ts';
import type { SourcesOfPolicy } from './sources.ts';

/** The servers in `gateway.yaml` that may hold lists. */
export interface NamedServers {
  readonly etcd?: EtcdAddress;
  readonly redis?: RedisAddress;
}

export interface ListServers extends NamedServers {
  readonly sources: SourcesOfPolicy;
}

/** Sources as written; any combination of them. */
export interface WrittenSources {
  readonly file?: string | undefined;
  readonly etcd?: string | undefined;
  readonly redis?: string | undefined;
}

/**
 * Starts following lists. Waits until a file has been read, so that its faults are faults of the policy. Servers may
 * answer later; until then their lists fail closed.
 */
export async function followLists<Contents extends LiveContents>(
  places: Places,
  path: Path,
  written: WrittenSources,
  servers: ListServers,
  reader: ListReader<Contents>,
): Promise<{ readonly lists: readonly SourceList<Contents>[]; readonly faults: readonly PolicyFault[] }> {
  const faults: PolicyFault[] = [];
  const followed: SourceList<Contents>[] = [];
  for (const source of sourcesOf(places, path, written, servers, faults)) {
    const list = await servers.sources.lists.of(reader).list(source);
    if (source.kind === 'file' || servers.sources.mode === 'once') await list.settled();
    if (source.kind === 'file' && list.contents === undefined)
      faults.push(...list.faults.map((fault) => placed(places, path, written, fault)));
    followed.push(list);
  }
  return { lists: followed, faults };
}

/** Reports an unreadable file where it is named, since the name is most likely wrong. */
function placed(places: Places, path: Path, { file }: WrittenSources, fault: PolicyFault): PolicyFault {
  const isUnread = fault.problem.startsWith(UNREADABLE);
  return isUnread ? places.at([...path, 'file'], `${file} ${fault.problem}`) : fault;
}

function sourcesOf(
  places: Places,
  path: Path,
  { file, etcd, redis }: WrittenSources,
  servers: ListServers,
  faults: PolicyFault[],
): readonly ListSource[] {
  const sources: ListSource[] = [];
  const filePath = file === undefined ? undefined : places.pathOf(file);
  if (filePath !== undefined) sources.push({ kind: 'file', path: filePath });
  else if (file !== undefined) faults.push(places.at([...path, 'file'], LEAVES_FOLDER, EXPECTED_FOLDER));
  if (etcd !== undefined && servers.etcd !== undefined)
    sources.push({ kind: 'etcd', at: servers.etcd, key: etcd });
  if (redis !== undefined && servers.redis !== undefined)
    sources.push({ kind: 'redis', at: servers.redis, key: redis });
  if (etcd !== undefined && servers.etcd === undefined)
    faults.push(places.at([...path, 'etcd'], 'gateway.yaml names no etcd', 'gateway.etcd.endpoints'));
  if (redis !== undefined && servers.redis === undefined)
    faults.push(places.at([...path, 'redis'], 'gateway.yaml names no Redis', 'gateway.state.redis'));
  return sources;
}
