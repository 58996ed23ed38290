/** A listener to which a node's answer says nothing; tests put in what they ask about. */

import type { ResponseListener } from '../../gateway/relay/response-listener.ts';

export const UNHEARD: ResponseListener = {
  mayUpgrade: false,
  onUpgrade: () => undefined,
  onReadEnd: () => undefined,
  onResponse: () => undefined,
  onBody: () => undefined,
  onBodyEnd: () => undefined,
  onNodeDrain: () => undefined,
  onNodeFault: () => undefined,
};
