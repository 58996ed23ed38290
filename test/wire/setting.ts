/** The settings of the gateway of the transcripts. */

export const GATEWAY = '  limits: { headBytes: 4KiB, headFields: 20 }\n  timeouts: { linger: 50ms }';

/** The nodes fail one time after the other and are asked again. */
export const UPSTREAM = '    breaker: { minimumRequests: 100000 }\n';

export const ROUTES = `  - name: open
    match: { methods: [GET, HEAD, PUT, POST, DELETE, OPTIONS, PATCH], path: '/open/**' }
    require: none
    upstream: sync
  - name: small
    match: { methods: [PUT], path: /small }
    require: none
    stream: { maxBytes: 16B }
    upstream: sync
  - name: slashes
    match: { methods: [GET], path: '/slashes/{name}' }
    require: none
    encodedSlash: true
    upstream: sync
`;
