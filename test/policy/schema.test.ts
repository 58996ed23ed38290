/** The list of keys says which of them must be written, and where. */
import t from 'tap';
import { configKeys } from '../../gateway/policy/schema.ts';

const keys = new Map(
  ['gateway', 'tenant']
    .flatMap((kind) => configKeys(kind as 'gateway' | 'tenant'))
    .map((key) => [key.path, key]),
);

t.test('a key is required as a whole only if every file has to have it', async (t) => {
  for (const path of ['gateway.listeners', 'gateway.listeners[].name', 'tenant', 'routes[].upstream'])
    t.match(keys.get(path), { required: true, requiredIn: undefined }, path);
  t.match(keys.get('gateway.workers'), { required: false, requiredIn: undefined, defaultText: 'auto' });
});

t.test('a key of an object that may be left out is required in that object', async (t) => {
  const expected = {
    'gateway.audit.file': 'audit',
    'gateway.state.redis': 'state',
    'gateway.etcd.endpoints': 'etcd',
    'upstreams.<name>.health.path': 'health',
    'upstreams.<name>.nodes[].url': 'nodes[]',
    'routes[].certificate.names': 'certificate',
    'routes[].require.scope': 'require',
    'routes[].fallback.status': 'fallback',
  };
  for (const [path, requiredIn] of Object.entries(expected))
    t.equal(keys.get(path)?.requiredIn, requiredIn, path);
});
