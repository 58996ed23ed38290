/** A control plane on a policy folder, with data planes connected over channels that copy as processes do. */

import { deserialize, serialize } from 'node:v8';
import type { Test } from 'tap';
import { CertificateKeeper } from '../../gateway/certificates/certificate-keeper.ts';
import { formatFault } from '../../gateway/core/fault.ts';
import { ControlEnd } from '../../gateway/handoff/control-end.ts';
import type { ControlLink } from '../../gateway/handoff/control-link.ts';
import { DataEnd } from '../../gateway/handoff/data-end.ts';
import { CompiledForms } from '../../gateway/handoff/policy-forms.ts';
import { createLog } from '../../gateway/observe/log.ts';
import { LivePolicy } from '../../gateway/policy/live.ts';
import { loadPolicy } from '../../gateway/policy/load.ts';
import { PolicySources } from '../../gateway/policy/sources.ts';

export interface ControlStage {
  readonly live: LivePolicy;
  readonly sources: PolicySources;
  readonly keeper: CertificateKeeper;
  readonly control: ControlEnd;
  readonly forms: CompiledForms;
  /** Attaches another data plane, which has the policy. */
  attach(): Promise<DataPlane>;
  /** Attaches another data plane that was told nothing yet. */
  begin(): DataPlane;
  /** Reads the folder again; throws its faults. */
  reload(): Promise<void>;
}

export interface DataPlane {
  readonly end: DataEnd;
  readonly link: ControlLink;
  readonly faults: string[];
  /** The generations of the policies that came into force. */
  readonly generations: number[];
  changes(): number;
  /** Number of messages sent to it that it has not received. */
  waiting(): number;
  /** Number of identities sent to it so far. */
  identities(): number;
  /** How often it asked for other keys. */
  questions(): number;
  /** Number of messages sent to it so far. */
  sent(): number;
  /** Makes it receive nothing until `goOn`. */
  hold(): void;
  goOn(): void;
  close(): void;
}

export async function setControl(t: Test, policyFolder: string): Promise<ControlStage> {
  const forms = new CompiledForms();
  let toldTo: ControlEnd | undefined;
  const changed = (): void => toldTo?.changed();
  const sources = new PolicySources({
    mode: 'follow',
    onList: changed,
    keys: { onFetch: changed, onChange: changed },
  });
  const options = { sources, onCompiled: forms };
  const { policy, faults, ...read } = await loadPolicy(policyFolder, Date.now(), options);
  if (policy === undefined || faults.length > 0) throw new Error(faults.map(formatFault).join('\n'));
  const live = new LivePolicy(policyFolder, { ...read, policy }, sources, Date.now, changed, forms);
  const keeper = new CertificateKeeper({
    policy: () => live.current,
    log: createLog('silent'),
    onChange: changed,
    capacity: () => Number.POSITIVE_INFINITY,
  });
  const control = new ControlEnd({
    policy: () => live.current,
    forms,
    sources,
    identities: keeper,
    ticketSecret: Buffer.alloc(32, 7),
  });
  toldTo = control;
  t.teardown(() => {
    control.close();
    keeper.close();
    sources.close();
  });
  const begin = (): DataPlane => connect(t, control);
  return {
    live,
    sources,
    keeper,
    control,
    forms,
    begin,
    attach: async () => {
      const plane = begin();
      await plane.end.started;
      return plane;
    },
    reload: async () => {
      const outcome = await live.reload();
      await keeper.refresh();
      if (outcome.faults.length > 0) throw new Error(outcome.faults.map(formatFault).join('\n'));
    },
  };
}

function connect(t: Test, control: ControlEnd): DataPlane {
  const faults: string[] = [];
  const generations: number[] = [];
  const waiting: Buffer[] = [];
  let changes = 0;
  let sent = 0;
  let identities = 0;
  let questions = 0;
  let isHeld = false;
  const deliver = (): void => {
    const message = isHeld ? undefined : waiting.shift();
    if (message !== undefined) end.receive(deserialize(message));
  };
  const end = new DataEnd({
    channel: {
      send: (message) => {
        if ((message as { readonly kind: string }).kind === 'renew') questions += 1;
        setImmediate(() => link.receive(deserialize(serialize(message))));
      },
    },
    onFault: (fault) => faults.push(fault),
  });
  end.onChange((change) => {
    changes += 1;
    if (change === 'policy') generations.push(end.policy().generation);
  });
  const link = control.attach({
    send: (message) => {
      sent += 1;
      if (isIdentity(message)) identities += 1;
      waiting.push(serialize(message));
      setImmediate(deliver);
    },
  });
  const close = (): void => {
    link.close();
    end.close();
  };
  t.teardown(close);
  return {
    end,
    link,
    faults,
    generations,
    changes: () => changes,
    waiting: () => waiting.length,
    sent: () => sent,
    identities: () => identities,
    questions: () => questions,
    hold: () => {
      isHeld = true;
    },
    goOn: () => {
      isHeld = false;
      for (let left = waiting.length; left > 0; left--) setImmediate(deliver);
    },
    close,
  };
}

function isIdentity(message: unknown): boolean {
  return (message as { readonly about?: { readonly kind: string } }).about?.kind === 'identity';
}

/** Whether it becomes true within a few seconds. */
export async function until(isSo: () => boolean | undefined): Promise<boolean> {
  for (let waits = 0; waits < 1000 && isSo() !== true; waits++)
    await new Promise((resolve) => setTimeout(resolve, 5));
  return isSo() === true;
}
