/** Keys of a route that are useless or contradict its other keys. */
import t from 'tap';
import { type Row, TENANT, testRows } from './fault-rows.ts';
import { createAuthorities } from './policy-folder.ts';

const READ = 'require: { scope: read }\n';
const ROWS: readonly Row[] = [
  [
    'limits of nothing',
    READ,
    `${READ}    limits: { per: address }\n`,
    '25:13 routes[1].limits: limits nothing (expected requests, concurrent or bytes)',
  ],
  [
    'limits per subject where no token is asked for',
    READ,
    'require: none\n    limits: { concurrent: 4 }\n',
    '25:13 routes[1].limits: a limit per subject requires a token (expected per: address, model or tenant)',
  ],
  [
    'limits per model on a path without one',
    "'/v1/models/{model_id}/**' }\n    require: { scope: read }\n",
    "'/v1/all/**' }\n    require: { scope: read }\n    limits: { requests: 60/m, per: model }\n",
    '25:36 routes[1].limits.per: the path has no {model_id} (expected subject, address or tenant)',
  ],
  [
    'limits that are none',
    READ,
    `${READ}    limits: { requests: 0/m, concurrent: 0, bytes: 20GiB, per: caller }\n`,
    ...[
      '25:25 routes[1].limits.requests: "0/m" is invalid (expected a rate like 100/s, 6000/m, 10/h)',
      '25:42 routes[1].limits.concurrent: is too small (expected at least 1)',
      '25:52 routes[1].limits.bytes: "20GiB" is invalid (expected a rate like 10KiB/s, 20GiB/d of at most 909TiB)',
      '25:64 routes[1].limits.per: has an unknown value (expected subject, address, model, tenant)',
    ],
  ],
  [
    'more bytes than the fields that tell of them can say',
    READ,
    `${READ}    limits: { bytes: 910TiB/d }\n`,
    '25:22 routes[1].limits.bytes: "910TiB/d" is invalid (expected a rate like 10KiB/s, 20GiB/d of at most 909TiB)',
  ],
  [
    'a grace without a rate, and trailers that would frame or allow',
    READ,
    `${READ}    stream: { minRateGrace: 5s, trailers: [X-Sum, Content-Length, Sec-X, X-Forwarded-For] }\n`,
    ...[
      '25:29 routes[1].stream.minRateGrace: has no effect without minRate',
      '25:51 routes[1].stream.trailers[1]: Content-Length is not allowed as a trailer field',
      '25:67 routes[1].stream.trailers[2]: Sec-X is not allowed as a trailer field',
      '25:74 routes[1].stream.trailers[3]: X-Forwarded-For is not allowed as a trailer field',
    ],
  ],
  [
    'claims that are almost a parameter of the path',
    READ,
    "require: { scope: read, claims: { a: '{model-id}', b: ['{ model_id }', x], c: '{model_id}-x', d: 'x{model_id}', e: 'a}' } }\n",
    ...[
      "24:42 routes[1].require.claims.a: '{model-id}' is not a parameter of the path (expected {model_id})",
      "24:59 routes[1].require.claims.b: '{ model_id }' is not a parameter of the path (expected {model_id})",
      "24:83 routes[1].require.claims.c: '{model_id}-x' is not a parameter of the path (expected {model_id})",
      "24:102 routes[1].require.claims.d: 'x{model_id}' is not a parameter of the path (expected {model_id})",
      "24:120 routes[1].require.claims.e: 'a}' is not a parameter of the path (expected {model_id})",
    ],
  ],
  [
    'a tunnel without an upgrade',
    READ,
    `${READ}    tunnel: { idle: 1m }\n`,
    '25:13 routes[1].tunnel: has no effect without upgrade',
  ],
  [
    'an upgrade of other methods than GET, with a body to look at',
    READ,
    `${READ}    upgrade: websocket\n    stream: { maxBytes: 1MiB }\n`,
    '23:23 routes[1].match.methods: a WebSocket handshake is a GET (expected [GET])',
    '26:13 routes[1].stream: has no effect with upgrade: a tunnel has no body',
  ],
];

testRows(t, await createAuthorities(), TENANT, ROWS);
