/** Settings that a process keeps from its start: changing them in `gateway.yaml` requires a restart. */

import type { PolicyFault } from '../core/fault.ts';
import type { GatewaySettings } from './gateway-settings.ts';
import type { Path, Places } from './places.ts';

/** Settings of sockets, files and processes that exist from the start, each with the value to compare. */
const HELD: readonly (readonly [Path, (settings: GatewaySettings) => unknown])[] = [
  [['listeners'], ({ listeners }) => listeners.map(({ name, address }) => [name, address])],
  [['admin', 'address'], ({ admin }) => admin],
  [['workers'], ({ workers }) => workers],
  [['accessLog', 'file'], ({ accessLog }) => accessLog],
  [['audit'], ({ audit }) => audit],
];

/** Returns a fault for each of these settings that differs from `before`, the settings in force. */
export function heldFaults(
  places: Places,
  before: GatewaySettings,
  after: GatewaySettings,
): readonly PolicyFault[] {
  return HELD.flatMap(([path, of]) =>
    JSON.stringify(of(before)) === JSON.stringify(of(after))
      ? []
      : [places.at(['gateway', ...path], 'cannot change on reload; restart the process')],
  );
}
