/** A listener that ignores everything a node answers; tests add what they need. */

import type { ResponseListener } from '../../gateway/relay/response-listener.ts';

export const UNHEARD: ResponseListener = {
  mayUpgrade: false,
  mayRetry: false,
  onUpgrade: () => undefined,
  onReadEnd: () => undefined,
  onResponse: () => undefined,
  onBody: () => undefined,
  onBodyEnd: () => undefined,
  onNodeDrain: () => undefined,
  onNodeFault: () => undefined,
};
