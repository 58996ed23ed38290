/** What a path of the sync node is, and what its requests share. */

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
  /** Nothing is answered where the caller is gone. */
  handle(parts: NodeParts, request: IncomingMessage, params: Params): Promise<Reply | undefined>;
}
