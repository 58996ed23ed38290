/** WebSocket handshakes (RFC 6455 §4), checked strictly on both sides: an almost correct one switches nothing. */

import { createHash } from 'node:crypto';
import { type Denial, deny } from '../core/denial.ts';
import type { RequestHead } from '../core/facts.ts';
import { fieldValues, listMembers } from '../core/headers.ts';

/** Sixteen bytes in base64; the last character before the padding has only two significant bits. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/;
/** RFC 6455 §1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const VERSION = '13';

/** The fields of a valid handshake, for hypothetical requests. */
export const UPGRADE_FIELDS: readonly string[] = [
  ...['Connection', 'Upgrade', 'Upgrade', 'websocket'],
  ...['Sec-WebSocket-Version', VERSION, 'Sec-WebSocket-Key', Buffer.alloc(16).toString('base64')],
];

/** Returns undefined if the request is a valid handshake. */
export function checkUpgrade(head: RequestHead): Denial | undefined {
  const { method, minor, framing, fields } = head;
  const asked = fieldValues(fields, 'upgrade').map((value) => value.toLowerCase());
  const options = listMembers(fields, 'connection');
  if (asked.length !== 1 || asked[0] !== 'websocket' || !options.includes('upgrade'))
    return deny('limits', 'upgrade-required', 'This route accepts only WebSocket handshakes.', {
      rule: 'upgrade',
    });
  const versions = fieldValues(fields, 'sec-websocket-version');
  if (versions.length !== 1 || versions[0] !== VERSION)
    return deny('limits', 'upgrade-required', 'Sec-WebSocket-Version must be 13.', { rule: 'upgrade' });
  if (method !== 'GET' || minor === 0 || framing.kind !== 'none')
    return bad('A WebSocket handshake must be an HTTP/1.1 GET without a body.');
  const keys = fieldValues(fields, 'sec-websocket-key');
  if (keys.length !== 1 || !KEY.test(keys[0] ?? ''))
    return bad('Sec-WebSocket-Key must be 16 bytes in base64.');
  if (options.some((name) => name.startsWith('sec-websocket-')))
    return bad('Connection must not name fields of the handshake.');
  return undefined;
}

function bad(detail: string): Denial {
  return deny('limits', 'bad-request', detail, { rule: 'upgrade' });
}

/** What is wrong with a 101 response to the request, by the checks RFC 6455 §4.1 requires of clients. */
export function switchFault(request: RequestHead, fields: readonly string[]): string | undefined {
  const upgrades = fieldValues(fields, 'upgrade');
  if (upgrades.length !== 1 || upgrades[0]?.toLowerCase() !== 'websocket')
    return 'a switch to another protocol';
  if (!listMembers(fields, 'connection').includes('upgrade')) return 'a switch without Connection: upgrade';
  const accepts = fieldValues(fields, 'sec-websocket-accept');
  const [key = ''] = fieldValues(request.fields, 'sec-websocket-key');
  if (accepts.length !== 1 || accepts[0] !== acceptOf(key))
    return 'Sec-WebSocket-Accept does not match the key';
  return undefined;
}

/** The `Sec-WebSocket-Accept` for a key (RFC 6455 §4.2.2). */
export function acceptOf(key: string): string {
  return createHash('sha1')
    .update(key + GUID)
    .digest('base64');
}
