/** Every metric the gateway exposes: name, type, labels, help; registry and README are both made from it. */

/** One row of the table of metrics, as the README prints it. */
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
    help: 'Requests that were answered or broken off, by status code.',
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
    help: 'Admitted requests that have not ended.',
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
    help: 'Body bytes forwarded in the buffers they came in (passed) or in others (copied).',
  },
  decisions: {
    name: 'patchgate_decisions_total',
    type: 'counter',
    labels: ['step', 'outcome', 'code'],
    help: 'Decisions, by the step that made them and the code of the denial.',
  },
  reexaminations: {
    name: 'patchgate_stream_reexaminations_total',
    type: 'counter',
    labels: ['outcome', 'code'],
    help: 'Running streams that were decided again, by whether they were kept or ended and by the code of the denial.',
  },
  limitDecisions: {
    name: 'patchgate_limit_decisions_total',
    type: 'counter',
    labels: ['limit', 'outcome', 'backend'],
    help: 'Requests that the limits of their route admitted or refused, by where these are counted.',
  },
  limitStoreUp: {
    name: 'patchgate_limit_store_up',
    type: 'gauge',
    labels: ['store'],
    help: 'Whether the Redis that shares limits decides them (1), or `gateway.state.onFailure` does (0); only where one is named.',
  },
  limitStoreGateways: {
    name: 'patchgate_limit_store_gateways',
    type: 'gauge',
    labels: ['store'],
    help: 'Gateways that share limits, as far as was known last: while Redis is away each has its part of them.',
  },
  limitStoreFailures: {
    name: 'patchgate_limit_store_failures_total',
    type: 'counter',
    labels: ['reason'],
    help: 'Commands that Redis did not answer within 50 ms (timeout), had no connection for, or answered with an error (refused).',
  },
  handshakes: {
    name: 'patchgate_tls_handshakes_total',
    type: 'counter',
    labels: ['tenant', 'version', 'resumed', 'outcome'],
    help: 'TLS handshakes, by how they ended.',
  },
  certificateNotAfter: {
    name: 'patchgate_certificate_not_after_timestamp_seconds',
    type: 'gauge',
    labels: ['server_name', 'role'],
    help: 'When the first certificate of that role expires, of the server names (and tenant/upstream) in use.',
  },
  crlNextUpdate: {
    name: 'patchgate_crl_next_update_timestamp_seconds',
    type: 'gauge',
    labels: ['server_name'],
    help: 'When the first revocation list is due to be replaced, of the server names in use.',
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
    help: 'Whether the last reload found no fault (1) or some (0).',
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
    help: 'Whether the tenants in etcd are followed (1), or the last good ones or none are in force as it is away (0).',
  },
  addressPrefixes: {
    name: 'patchgate_address_prefixes',
    type: 'gauge',
    labels: ['tenant', 'list'],
    help: 'Prefixes in an address list.',
  },
  addressListCurrent: {
    name: 'patchgate_address_list_current',
    type: 'gauge',
    labels: ['tenant', 'list'],
    help: 'Whether an address list is what its source has (1), or the last good one or none is in force (0).',
  },
  tokenCache: {
    name: 'patchgate_token_cache_total',
    type: 'counter',
    labels: ['result'],
    help: 'Look-ups of a token among those verified before.',
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
    help: 'Fetches of the keys of an issuer.',
  },
  backpressurePauses: {
    name: 'patchgate_backpressure_pauses_total',
    type: 'counter',
    labels: ['side'],
    help: 'Times one side of a stream was held back because the other did not take more.',
  },
  bufferedBytes: {
    name: 'patchgate_buffered_bytes',
    type: 'gauge',
    labels: [],
    help: 'Bytes held for callers and nodes that do not take them yet.',
  },
  bufferPressure: {
    name: 'patchgate_buffer_pressure_total',
    type: 'counter',
    labels: ['action'],
    help: 'Times the bound on held bytes stopped all reading (paused), and streams it ended (shed).',
  },
  nodeUp: {
    name: 'patchgate_node_up',
    type: 'gauge',
    labels: ['upstream', 'node'],
    help: 'Whether a node (of tenant/upstream) is thought well (1), or out by its checks, ejection or its name (0).',
  },
  breakerState: {
    name: 'patchgate_breaker_state',
    type: 'gauge',
    labels: ['upstream', 'node'],
    help: 'The breaker of a node (of tenant/upstream): closed (0), half open (1), open (2).',
  },
  auditLines: {
    name: 'patchgate_audit_lines_total',
    type: 'counter',
    labels: ['outcome'],
    help: 'Lines of the audit log that are on disk (written), and that were given up (lost).',
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
    help: 'TCP connections accepted and not closed.',
  },
  loopDelay: {
    name: 'patchgate_event_loop_delay_max_seconds',
    type: 'gauge',
    labels: ['worker'],
    help: 'Longest time by which a process came late to its timers, of the last 30 to 60 s; worker 0 is the primary.',
  },
  processCpu: {
    name: 'patchgate_process_cpu_seconds_total',
    type: 'counter',
    labels: ['worker'],
    help: 'CPU time of a process, as user and in the system.',
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
    help: 'Open descriptors of a process: each connection is one, and one more to its node.',
  },
  processMostDescriptors: {
    name: 'patchgate_process_max_fds',
    type: 'gauge',
    labels: ['worker'],
    help: 'Descriptors a process may have open. At this number the system closes connections before anybody hears of them.',
  },
  workerRestarts: {
    name: 'patchgate_worker_restarts_total',
    type: 'counter',
    labels: [],
    help: 'Workers that ended unasked and were replaced.',
  },
  buildInfo: {
    name: 'patchgate_build_info',
    type: 'gauge',
    labels: ['version'],
    help: 'Always 1; the label is the version of patchgate.',
  },
} as const satisfies Record<string, MetricRow>;

/** Told as a whole by the one process that knows them, and never added up. */
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
