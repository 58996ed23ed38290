/** Every metric the gateway exposes: name, type, labels and help. Registry and README table are made from it. */

/** One metric; a row of the README table. */
export interface MetricRow {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  readonly help: string;
}

/** Labels are bounded: never an address, a subject, a path or a token. */
export const metricTable = {
  requests: {
    name: 'patchgate_requests_total',
    type: 'counter',
    labels: ['listener', 'tenant', 'route', 'method', 'code'],
    help: 'Requests answered or broken off, by status code.',
  },
  requestDuration: {
    name: 'patchgate_request_duration_seconds',
    type: 'histogram',
    labels: ['route'],
    help: 'Time from the end of the head to the end of the exchange.',
  },
  streamsActive: {
    name: 'patchgate_streams_active',
    type: 'gauge',
    labels: ['route'],
    help: 'Admitted requests in progress.',
  },
  streamBytes: {
    name: 'patchgate_stream_bytes_total',
    type: 'counter',
    labels: ['route', 'direction'],
    help: 'Body bytes received from callers (in) and sent to them (out).',
  },
  forwardedBytes: {
    name: 'patchgate_forwarded_bytes_total',
    type: 'counter',
    labels: ['path'],
    help: 'Body bytes forwarded in the buffers they arrived in (passed) or in other ones (copied).',
  },
  decisions: {
    name: 'patchgate_decisions_total',
    type: 'counter',
    labels: ['step', 'outcome', 'code'],
    help: 'Decisions, by deciding step and denial code.',
  },
  reexaminations: {
    name: 'patchgate_stream_reexaminations_total',
    type: 'counter',
    labels: ['outcome', 'code'],
    help: 'Running streams that were decided again, by outcome (kept or ended) and denial code.',
  },
  limitDecisions: {
    name: 'patchgate_limit_decisions_total',
    type: 'counter',
    labels: ['limit', 'outcome', 'backend'],
    help: 'Requests admitted or refused by the limits of their route; the backend is where these are counted.',
  },
  limitStoreUp: {
    name: 'patchgate_limit_store_up',
    type: 'gauge',
    labels: ['store'],
    help: 'Whether shared limits are decided by Redis (1) or by `gateway.state.onFailure` (0); only with `gateway.state`.',
  },
  limitStoreGateways: {
    name: 'patchgate_limit_store_gateways',
    type: 'gauge',
    labels: ['store'],
    help: 'Gateways that share limits, as last known; while Redis is unavailable each counts its part.',
  },
  limitStoreFailures: {
    name: 'patchgate_limit_store_failures_total',
    type: 'counter',
    labels: ['reason'],
    help: 'Redis commands without an answer within 50 ms (timeout), without a connection, or answered with an error (refused).',
  },
  handshakes: {
    name: 'patchgate_tls_handshakes_total',
    type: 'counter',
    labels: ['tenant', 'version', 'resumed', 'outcome'],
    help: 'TLS handshakes, by outcome.',
  },
  certificateNotAfter: {
    name: 'patchgate_certificate_not_after_timestamp_seconds',
    type: 'gauge',
    labels: ['server_name', 'role'],
    help: 'When the first certificate of that role expires, for each server name (or tenant/upstream) in use.',
  },
  crlNextUpdate: {
    name: 'patchgate_crl_next_update_timestamp_seconds',
    type: 'gauge',
    labels: ['server_name'],
    help: 'When the first revocation list is due for replacement, for each server name in use.',
  },
  policyGeneration: {
    name: 'patchgate_policy_generation',
    type: 'gauge',
    labels: [],
    help: 'Generation of the policy in force.',
  },
  reloadSuccessful: {
    name: 'patchgate_policy_last_reload_successful',
    type: 'gauge',
    labels: [],
    help: 'Whether the last reload was free of faults (1) or not (0).',
  },
  reloadSuccessTime: {
    name: 'patchgate_policy_last_reload_success_timestamp_seconds',
    type: 'gauge',
    labels: [],
    help: 'When the policy was last loaded without a fault.',
  },
  etcdTenants: {
    name: 'patchgate_etcd_tenants_current',
    type: 'gauge',
    labels: [],
    help: 'Whether tenants in etcd are up to date (1), or etcd is unavailable and the last good ones, if any, are in force (0).',
  },
  addressPrefixes: {
    name: 'patchgate_address_prefixes',
    type: 'gauge',
    labels: ['tenant', 'list'],
    help: 'Number of prefixes in an address list.',
  },
  addressListCurrent: {
    name: 'patchgate_address_list_current',
    type: 'gauge',
    labels: ['tenant', 'list'],
    help: 'Whether an address list matches its source (1), or the last good one, if any, is in force (0).',
  },
  tokenCache: {
    name: 'patchgate_token_cache_total',
    type: 'counter',
    labels: ['result'],
    help: 'Look-ups in the cache of verified tokens.',
  },
  tokenVerifications: {
    name: 'patchgate_token_verifications_total',
    type: 'counter',
    labels: ['issuer', 'outcome'],
    help: 'Tokens whose signature and claims were checked.',
  },
  jwksFetches: {
    name: 'patchgate_jwks_fetches_total',
    type: 'counter',
    labels: ['issuer', 'outcome'],
    help: 'JWKS fetches, by issuer and outcome.',
  },
  backpressurePauses: {
    name: 'patchgate_backpressure_pauses_total',
    type: 'counter',
    labels: ['side'],
    help: 'Times one side of a stream was paused because the other side was not keeping up.',
  },
  bufferedBytes: {
    name: 'patchgate_buffered_bytes',
    type: 'gauge',
    labels: [],
    help: 'Bytes buffered for callers and nodes that are not keeping up.',
  },
  bufferPressure: {
    name: 'patchgate_buffer_pressure_total',
    type: 'counter',
    labels: ['action'],
    help: 'Times the limit on buffered bytes stopped all reading (paused), and streams it ended (shed).',
  },
  nodeUp: {
    name: 'patchgate_node_up',
    type: 'gauge',
    labels: ['upstream', 'node'],
    help: 'Whether a node (of tenant/upstream) is up (1), or out because of its checks, an ejection or an unresolved name (0).',
  },
  breakerState: {
    name: 'patchgate_breaker_state',
    type: 'gauge',
    labels: ['upstream', 'node'],
    help: 'Breaker state of a node (of tenant/upstream): closed (0), half open (1), open (2).',
  },
  auditLines: {
    name: 'patchgate_audit_lines_total',
    type: 'counter',
    labels: ['outcome'],
    help: 'Lines of the audit log that reached the disk (written) or were dropped (lost).',
  },
  auditWritable: {
    name: 'patchgate_audit_writable',
    type: 'gauge',
    labels: [],
    help: 'Whether the audit log can be written (1) or not (0).',
  },
  openConnections: {
    name: 'patchgate_open_connections',
    type: 'gauge',
    labels: ['listener'],
    help: 'Open TCP connections.',
  },
  loopDelay: {
    name: 'patchgate_event_loop_delay_max_seconds',
    type: 'gauge',
    labels: ['worker'],
    help: 'Longest event-loop delay of a process in the last 30 to 60 s; worker 0 is the primary.',
  },
  processCpu: {
    name: 'patchgate_process_cpu_seconds_total',
    type: 'counter',
    labels: ['worker'],
    help: 'CPU time of a process, user and system.',
  },
  processResident: {
    name: 'patchgate_process_resident_memory_bytes',
    type: 'gauge',
    labels: ['worker'],
    help: 'Resident memory of a process.',
  },
  processDescriptors: {
    name: 'patchgate_process_open_fds',
    type: 'gauge',
    labels: ['worker'],
    help: 'Open file descriptors of a process; each connection takes one, and one more to its node.',
  },
  processMostDescriptors: {
    name: 'patchgate_process_max_fds',
    type: 'gauge',
    labels: ['worker'],
    help: 'File descriptors a process may open. At this number new connections are closed without an entry in any log.',
  },
  workerRestarts: {
    name: 'patchgate_worker_restarts_total',
    type: 'counter',
    labels: [],
    help: 'Workers that ended unexpectedly and were replaced.',
  },
  buildInfo: {
    name: 'patchgate_build_info',
    type: 'gauge',
    labels: ['version'],
    help: 'Always 1; the label is the patchgate version.',
  },
} as const satisfies Record<string, MetricRow>;

/** Metrics that only one process knows and sets as a whole; they are never summed over processes. */
export const toldWhole: ReadonlySet<string> = new Set<keyof typeof metricTable>([
  'certificateNotAfter',
  'crlNextUpdate',
  'addressPrefixes',
  'addressListCurrent',
  'nodeUp',
  'breakerState',
  'auditWritable',
  'etcdTenants',
  'limitStoreUp',
  'limitStoreGateways',
  'limitStoreFailures',
  'policyGeneration',
  'reloadSuccessful',
  'reloadSuccessTime',
  'workerRestarts',
  'buildInfo',
]);
