/** Finds keys of a route that have no effect, or contradict its other keys. */

import type { PolicyFault } from '../core/fault.ts';
import { mayBeTrailer } from '../core/trailers.ts';
import type { Path, Places } from './places.ts';
import type { RouteFile } from './tenant-file.ts';

/** `params`: the parameter names in the path of the route. */
export function contradictions(
  places: Places,
  route: RouteFile,
  path: Path,
  params: readonly string[],
): readonly PolicyFault[] {
  return [
    ...limitFaults(places, route, path, params),
    ...streamFaults(places, route, path),
    ...upgradeFaults(places, route, path),
  ];
}

function limitFaults(
  places: Places,
  { limits, require }: RouteFile,
  path: Path,
  params: readonly string[],
): PolicyFault[] {
  if (limits === undefined) return [];
  const { per, requests, concurrent, bytes } = limits;
  const at = [...path, 'limits'];
  if (requests === undefined && concurrent === undefined && bytes === undefined)
    return [places.at(at, 'limits nothing', 'requests, concurrent or bytes')];
  if (per === 'subject' && require === 'none')
    return [places.at(at, 'a limit per subject requires a token', 'per: address, model or tenant')];
  if (per === 'model' && !params.includes('model_id'))
    return [places.at([...at, 'per'], 'the path has no {model_id}', 'subject, address or tenant')];
  return [];
}

function streamFaults(places: Places, { stream }: RouteFile, path: Path): PolicyFault[] {
  if (stream === undefined) return [];
  const graceOnly = stream.minRateGrace !== undefined && stream.minRate === undefined;
  return [
    ...(graceOnly ? [places.at([...path, 'stream', 'minRateGrace'], 'has no effect without minRate')] : []),
    ...(stream.trailers ?? []).flatMap((name, index) =>
      mayBeTrailer(name)
        ? []
        : [places.at([...path, 'stream', 'trailers', index], `${name} is not allowed as a trailer field`)],
    ),
  ];
}

/** A handshake is a GET without a body (RFC 6455 §4.1). */
function upgradeFaults(
  places: Places,
  { upgrade, tunnel, match, stream }: RouteFile,
  path: Path,
): PolicyFault[] {
  if (upgrade === undefined)
    return tunnel === undefined ? [] : [places.at([...path, 'tunnel'], 'has no effect without upgrade')];
  return [
    ...(match.methods.every((method) => method === 'GET')
      ? []
      : [places.at([...path, 'match', 'methods'], 'a WebSocket handshake is a GET', '[GET]')]),
    ...(stream === undefined
      ? []
      : [places.at([...path, 'stream'], 'has no effect with upgrade: a tunnel has no body')]),
  ];
}
