/** The refusals that the demo shows, each provoked over a real connection. */

import { createReadStream } from 'node:fs';
import type { DenialCode } from '../core/denial.ts';
import { messageOf } from '../core/error-text.ts';
import { WEIGHT_PATCH_TYPE } from '../patch/layout.ts';
import { type GatewayAnswer, GatewayClient, type GatewayRequest } from '../push/gateway-client.ts';
import type { DevelopmentTenant } from './development-pki.ts';
import { MODEL, type Stack } from './stack.ts';

export interface AttemptResult {
  /** What was tried. */
  readonly title: string;
  /** The problem body, or how the connection ended. */
  readonly answer: string;
  /** Whether the answer is the expected one. */
  readonly expected: boolean;
}

/** A request made by the worker of tenant-a. */
interface Attempt {
  readonly title: string;
  readonly code: DenialCode;
  readonly tenant: DevelopmentTenant;
  readonly scope: string;
  readonly method: 'GET' | 'PUT';
  readonly path: string;
  readonly request: GatewayRequest;
}

const MODEL_PATH = `/v1/models/${MODEL}`;

/** Makes requests that must be refused. `bodyPath` is the file for the push that is not allowed. */
export async function tryRefusals(stack: Stack, bodyPath: string): Promise<readonly AttemptResult[]> {
  const refusals = [await strangerInHandshake(stack)];
  for (const attempt of attempts(bodyPath)) refusals.push(await refusalOf(stack, attempt));
  return refusals;
}

function attempts(bodyPath: string): readonly Attempt[] {
  return [
    {
      title: "tenant-a's certificate at tenant-b, whose routes accept only their own",
      code: 'certificate-denied',
      tenant: 'tenant-b',
      scope: 'read',
      method: 'GET',
      path: MODEL_PATH,
      request: {},
    },
    {
      title: 'a push with a token of scope read',
      code: 'insufficient-scope',
      tenant: 'tenant-a',
      scope: 'read',
      method: 'PUT',
      path: `${MODEL_PATH}/patches/${'0'.repeat(32)}`,
      request: { headers: { 'content-type': WEIGHT_PATCH_TYPE }, body: createReadStream(bodyPath) },
    },
    {
      title: 'a client at 198.51.100.7, on no list, behind a trusted proxy',
      code: 'address-denied',
      tenant: 'tenant-a',
      scope: 'read',
      method: 'GET',
      path: MODEL_PATH,
      request: { headers: { 'x-forwarded-for': '198.51.100.7' } },
    },
  ];
}

async function refusalOf(stack: Stack, { title, code, tenant, scope, method, path, request }: Attempt) {
  const client = new GatewayClient({
    ...(await stack.addressOf(tenant, 'tenant-a')),
    token: await stack.token('tenant-a', scope),
  });
  try {
    const answer = await client.send(method, path, request);
    return { title, answer: answer.body.toString(), expected: codeOf(answer) === code };
  } finally {
    await client.close();
  }
}

function codeOf({ body }: GatewayAnswer): unknown {
  const problem: unknown = JSON.parse(body.toString());
  return typeof problem === 'object' && problem !== null && 'code' in problem ? problem.code : undefined;
}

/** tenant-a requires a certificate of its own authority; with any other the gateway ends the connection unanswered. */
async function strangerInHandshake(stack: Stack): Promise<AttemptResult> {
  const title = "tenant-b's certificate at tenant-a, which requires its own";
  const client = new GatewayClient({
    ...(await stack.addressOf('tenant-a', 'tenant-b')),
    token: await stack.token('tenant-a', 'read'),
  });
  try {
    const { status } = await client.send('GET', MODEL_PATH);
    return { title, answer: `answered with ${status}`, expected: false };
  } catch (error) {
    const reason = messageOf(error);
    return { title, answer: `closed after the handshake, no byte answered (${reason})`, expected: true };
  } finally {
    await client.close();
  }
}
