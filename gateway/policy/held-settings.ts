/** What a process holds from its start: a `gateway.yaml` that says otherwise waits for the next one. */

import type { PolicyFault } from '../core/fault.ts';
import type { GatewaySettings } from './gateway-settings.ts';
import type { Path, Places } from './places.ts';

/** Each with what stands for it: sockets, files and processes that are there once and for all. */
const HELD: readonly (readonly [Path, (settings: GatewaySettings) => unknown])[] = [
  [['listeners'], ({ listeners }) => listeners.map(({ name, address }) => [name, address])],
  [['admin', 'address'], ({ admin }) => admin],
  [['workers'], ({ workers }) => workers],
  [['accessLog', 'file'], ({ accessLog }) => accessLog],
  [['audit'], ({ audit }) => audit],
];

/** A fault for each of them that is another now. `before`: what the process runs by. */
export function heldFaults(
  places: Places,
  before: GatewaySettings,
  after: GatewaySettings,
): readonly PolicyFault[] {
  return HELD.flatMap(([path, of]) =>
    JSON.stringify(of(before)) === JSON.stringify(of(after))
      ? []
      : [places.at(['gateway', ...path], 'is another than at the start of this process: it takes a restart')],
  );
}
