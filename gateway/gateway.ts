/** The composition root: builds every part, wires them, starts, reloads and drains the whole. */

import { Deadlines } from './core/deadlines.ts';
import { CallerConnection, type CallerContext } from './edge/caller-connection.ts';
import { createListener, type Listener } from './edge/listener.ts';
import { ServerNames } from './edge/server-names.ts';
import { beginExchange, type ExchangeContext } from './exchange.ts';
import { Llhttp } from './http1/llhttp.ts';
import { type AccessLog, createAccessLog } from './observe/access-log.ts';
import { type Admin, createAdmin } from './observe/admin.ts';
import type { Log } from './observe/log.ts';
import { createMetrics, type Metrics } from './observe/metrics.ts';
import type { PolicyFault } from './policy/fault.ts';
import { LivePolicy } from './policy/live.ts';
import type { HostPort, ListenerSettings, Policy } from './policy/policy.ts';
import { UpstreamPools } from './relay/upstream-pools.ts';
