/** One line of the audit log, before it has its place in the chain: plain data, so that it can be sent from one process to another. */

export interface AuditEntry {
  /**
   * `admitted`: it is going to a node. `ended`: what became of one that was admitted. `refused`: it went nowhere. The
   * others are of the log itself.
   */
  readonly event: 'admitted' | 'ended' | 'refused' | 'started' | 'stopped' | 'torn' | 'resumed';
  /** Wall clock, milliseconds since the epoch. */
  readonly timeMs: number;
  readonly requestId?: string | undefined;
  readonly tenant?: string | undefined;
  readonly route?: string | undefined;
  /** What the route asks for. */
  readonly scope?: string | undefined;
  /** Of the token, once it was verified: the name of its issuer in the policy, `sub`, `jti`. */
  readonly issuer?: string | undefined;
  readonly subject?: string | undefined;
  readonly tokenId?: string | undefined;
  /** SHA-256 of the verified client certificate, hex. */
  readonly certificate?: string | undefined;
  readonly clientAddress?: string | undefined;
  readonly peerAddress?: string | undefined;
  readonly method?: string | undefined;
  /** Without its query. */
  readonly path?: string | undefined;
  readonly modelId?: string | undefined;
  /** That the path names. */
  readonly version?: string | undefined;
  readonly policyDigest?: string | undefined;
  readonly policyGeneration?: number | undefined;
  /** Body bytes received from the caller and sent to it. */
  readonly bytesIn?: number | undefined;
  readonly bytesOut?: number | undefined;
  readonly stream?: AuditedStream | undefined;
  readonly node?: string | undefined;
  readonly status?: number | undefined;
  readonly denialCode?: string | undefined;
  /** What it would have been refused for, were its route not in shadow. */
  readonly shadowCode?: string | undefined;
  readonly cause?: string | undefined;
  readonly endedBy?: string | undefined;
  /** Of the log's own events: what happened, in words. */
  readonly note?: string | undefined;
}

/** What a weight patch said of itself, as far as it was checked in passing. */
export interface AuditedStream {
  readonly id: string;
  readonly baseVersion: number;
  readonly targetVersion: number;
  readonly baseDigest: string;
  /** Frames whose headers were right. */
  readonly frames: number;
  /** Its END came and everything added up. */
  readonly isWhole: boolean;
  /** SHA-256 over all headers, each of which holds its payload's CRC-32; of a whole stream. */
  readonly chain?: string | undefined;
  /** False for a resumed stream, whose beginning went another time: then the chain is what END says. */
  readonly isChainChecked?: boolean | undefined;
  /** The SHA-256 the patched model must have; the node holds the model against it. */
  readonly targetDigest?: string | undefined;
}

const VALUE_CHARACTERS = 2048;
/** What `JSON.stringify` leaves as it is though a terminal or a line reader may act on it. */
const ACTIVE = /[\u007f-\u009f\u2028\u2029]/g;

/** The members of the line's JSON object, without braces; fields that are not known are left out. */
export function bodyOf(entry: AuditEntry): string {
  const { event, timeMs, stream, ...known } = entry;
  const text = JSON.stringify({
    time: new Date(timeMs).toISOString(),
    event,
    'request.id': known.requestId,
    tenant: known.tenant,
    route: known.route,
    scope: known.scope,
    'token.issuer': known.issuer,
    'token.sub': capped(known.subject),
    'token.jti': capped(known.tokenId),
    'tls.client.hash.sha256': known.certificate,
    'client.address': known.clientAddress,
    'network.peer.address': known.peerAddress,
    'http.request.method': known.method,
    'url.path': capped(known.path),
    model_id: capped(known.modelId),
    version: capped(known.version),
    'policy.digest': known.policyDigest,
    'policy.generation': known.policyGeneration,
    bytes_in: known.bytesIn,
    bytes_out: known.bytesOut,
    ...(stream !== undefined && {
      'stream.id': stream.id,
      'stream.base_version': stream.baseVersion,
      'stream.target_version': stream.targetVersion,
      'stream.base_digest': stream.baseDigest,
      'stream.frames': stream.frames,
      'stream.whole': stream.isWhole,
      'stream.chain': stream.chain,
      'stream.chain_checked': stream.isChainChecked,
      'stream.target_digest': stream.targetDigest,
    }),
    'upstream.node': known.node,
    'http.response.status_code': known.status,
    'denial.code': known.denialCode,
    'shadow.code': known.shadowCode,
    cause: capped(known.cause),
    ended_by: known.endedBy,
    note: capped(known.note),
  });
  return text.slice(1, -1).replace(ACTIVE, escapeCharacter);
}

function capped(value: string | undefined): string | undefined {
  return value !== undefined && value.length > VALUE_CHARACTERS ? value.slice(0, VALUE_CHARACTERS) : value;
}

const escapeCharacter = (character: string): string =>
  `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
