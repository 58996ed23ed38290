/** The shape of the sync node's routes, and what all requests share. */

import type { IncomingMessage } from 'node:http';
import type { ModelStore } from './model-store.ts';
import type { Reply } from './reply.ts';
import type { Uploads } from './uploads.ts';

/** What all requests share. */
export interface NodeParts {
  readonly store: ModelStore;
  readonly uploads: Uploads;
}

/** The variable parts of a path, by name. */
export type Params = Readonly<Record<string, string>>;

export interface NodeRoute {
  readonly methods: readonly string[];
  readonly path: RegExp;
  /** Resolves to undefined if the caller is gone: nothing is answered. */
  handle(parts: NodeParts, request: IncomingMessage, params: Params): Promise<Reply | undefined>;
}
