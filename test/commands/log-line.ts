/** A line of the access log. */

/** As the gateway would have written it. */
export const line = (more: Readonly<Record<string, unknown>> = {}): string =>
  JSON.stringify({
    time: '2026-12-01T12:00:00.000Z',
    'request.id': 'r',
    listener: 'edge',
    tenant: 'tenant-a',
    route: 'weights',
    'server.address': 'a.test',
    'client.address': '127.0.0.1',
    'network.peer.address': '127.0.0.1',
    'http.request.method': 'GET',
    'url.path': '/v1/models/vision/weights',
    'http.response.status_code': 200,
    duration_ms: 3.5,
    bytes_in: 0,
    bytes_out: 10,
    'tls.client.subject': 'CN=worker',
    'tls.client.names': 'URI:spiffe://a.test/worker',
    'tls.client.serial': '12',
    'tls.client.hash.sha256': 'ab'.repeat(32),
    'token.sub': 'worker-1',
    'token.claims': {
      iss: 'https://auth.test',
      aud: 'weights',
      iat: 1796126100,
      exp: 1796127000,
      scope: 'read finetune',
    },
    ...more,
  });
