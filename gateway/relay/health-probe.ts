/** One health check of a node: a request on its own connection, and whether the response status is an expected one. */

import { Expiring } from '../core/deadlines.ts';
import type { ResponseHead } from '../http1/response.ts';
import type { HealthSettings, NodeAddress } from '../policy/upstream.ts';
import type { Destination, NodeContext } from './destination.ts';
import { NodeConnection } from './node-connection.ts';
import type { ConnectionOwner, NodeFault, ResponseListener } from './response-listener.ts';

export interface ProbeSettings {
  readonly to: Omit<Destination, 'connectMs'>;
  readonly health: HealthSettings;
}

/** Starts on construction. Unless cancelled, calls `onVerdict` once: with the fault, or undefined if there is none. */
export class HealthProbe extends Expiring implements ConnectionOwner, ResponseListener {
  readonly mayUpgrade = false;
  readonly mayRetry = false;
  readonly #settings: ProbeSettings;
  readonly #context: NodeContext;
  readonly #onVerdict: (fault: string | undefined) => void;
  readonly #connection: NodeConnection;
  #over = false;

  constructor(settings: ProbeSettings, context: NodeContext, onVerdict: (fault?: string) => void) {
    super();
    this.#settings = settings;
    this.#context = context;
    this.#onVerdict = onVerdict;
    const { timeoutMs } = settings.health;
    this.#connection = new NodeConnection({ ...settings.to, connectMs: timeoutMs }, context, this);
    context.deadlines.arm(this, timeoutMs);
  }

  cancel(): void {
    this.#over = true;
    this.#context.deadlines.disarm(this);
    this.#connection.reset();
  }

  onConnected(connection: NodeConnection): void {
    if (!this.#over) connection.begin('GET', headOf(this.#settings), false, this);
  }

  onResponse({ status }: ResponseHead): void {
    const isWell = this.#settings.health.expect.some(({ first, last }) => first <= status && status <= last);
    this.#conclude(isWell ? undefined : `status ${status}`);
  }

  onUpgrade(): void {}

  onReadEnd(): void {}

  onBody(): void {}

  onBodyEnd(): void {}

  onNodeDrain(): void {}

  onNodeFault({ reason }: NodeFault): void {
    this.#conclude(reason);
  }

  onReusable(connection: NodeConnection): void {
    connection.close();
  }

  onClosed(_connection: NodeConnection, { reason }: NodeFault): void {
    this.#conclude(reason);
  }

  override expire(): void {
    this.#conclude('no answer in time');
  }

  #conclude(fault: string | undefined): void {
    if (this.#over) return;
    this.cancel();
    this.#onVerdict(fault);
  }
}

function headOf({ to, health }: ProbeSettings): string {
  const fields = `Host: ${authorityOf(to.node)}\r\nUser-Agent: patchgate\r\nConnection: close\r\n`;
  return `GET ${health.path} HTTP/1.1\r\n${fields}\r\n`;
}

function authorityOf({ host, port }: NodeAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
