/** The first route in the file that matches path and method is taken, comparing the bytes as they came. */
import t from 'tap';
import {
  buildRouteTable,
  type PathPattern,
  parsePathPattern,
  type RouteEntry,
} from '../../gateway/core/route-table.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

function pattern(text: string): PathPattern {
  const read = parsePathPattern(text);
  if (typeof read === 'string') throw new Error(read);
  return read;
}

const tableOf = (...routes: (readonly [methods: string, path: string])[]) =>
  buildRouteTable(
    routes.map(([methods, path]) => ({ methods: methods.split(' '), pattern: pattern(path), route: path })),
  );

const one = (path: string) => {
  const table = tableOf(['GET', path]);
  return (target: string) => {
    const match = table.match('GET', target);
    return match.kind === 'found' ? { ...match.params } : undefined;
  };
};

t.test('literal segments are compared as they are', async (t) => {
  const match = one('/v1/models');
  t.same(match('/v1/models'), {});
  for (const path of [
    '/v1',
    '/v1/models/x',
    '/V1/models',
    '/v1/model',
    '/v1/models%20',
    '/v1/%6dodels',
    '/',
  ]) {
    t.equal(match(path), undefined, path);
  }
  t.same(one('/')('/'), {});
  t.equal(one('/')('/a'), undefined);
});

t.test('{name} matches one segment, {name=*/*} two, and ** the rest', async (t) => {
  t.same(one('/m/{id}/w')('/m/a%20b/w'), { id: 'a%20b' }, 'a parameter is never decoded');
  t.equal(one('/m/{id}/w')('/m/w'), undefined);
  t.equal(one('/m/{id}')('/m/a/b'), undefined);
  t.same(one('/m/{id=*}')('/m/a'), { id: 'a' });
  t.same(one('/{repo=*/*}/raw')('/org/name/raw'), { repo: 'org/name' });
  t.equal(one('/{repo=*/*}/raw')('/name/raw'), undefined);
  t.same(one('/m/{id}/**')('/m/a/b'), { id: 'a' });
  t.same(one('/m/{id}/**')('/m/a/b/c/d'), { id: 'a' });
  t.same(one('/m/{id}/**')('/m/a'), { id: 'a' }, 'the rest may be empty');
  t.equal(one('/m/{id}/**')('/m'), undefined);
  t.same(one('/**')('/a'), {});
  t.same(one('/**')('/'), {});
});

t.test('the route written first is taken', async (t) => {
  const table = tableOf(
    ['GET', '/m/latest'],
    ['GET PUT', '/m/{id}'],
    ['GET', '/m/{name}'],
    ['DELETE', '/**'],
  );
  t.match(table.match('GET', '/m/latest'), { kind: 'found', route: '/m/latest' });
  t.match(table.match('GET', '/m/other'), { kind: 'found', route: '/m/{id}', params: { id: 'other' } });
  t.match(
    table.match('PUT', '/m/latest'),
    { kind: 'found', route: '/m/{id}' },
    'a later route is taken if the first lacks the method',
  );
  t.match(table.match('DELETE', '/m/latest'), { kind: 'found', route: '/**' });
});

t.test('a known path with another method is answered with the methods it takes', async (t) => {
  const table = tableOf(['GET', '/m/{id}'], ['PUT GET', '/m/{id}'], ['POST', '/n']);
  t.same(table.match('HEAD', '/m/1'), { kind: 'method', allow: ['GET', 'PUT'] }, 'GET does not imply HEAD');
  t.same(table.match('get', '/n'), { kind: 'method', allow: ['POST'] }, 'methods are case-sensitive');
  t.same(table.match('GET', '/o'), { kind: 'none' });
  t.same(tableOf().match('GET', '/'), { kind: 'none' });
});

t.test('parameters are plain values without a prototype', async (t) => {
  const match = tableOf(['GET', '/{__proto__}/{constructor}']).match('GET', '/a/b');
  if (match.kind !== 'found') throw new Error('no match');
  t.equal(Object.getPrototypeOf(match.params), null);
  t.same(Object.entries(match.params), [
    ['__proto__', 'a'],
    ['constructor', 'b'],
  ]);
  t.equal(match.params['toString'], undefined);
});

t.test('a pattern with no meaning or two meanings is refused', async (t) => {
  const wrong = [
    '',
    'v1',
    '/a/',
    '//',
    '/a//b',
    '/.',
    '/a/../b',
    '/**/a',
    '/***',
    '/a*',
    '/{}',
    '/{1a}',
    '/{a',
    '/a}',
  ];
  for (const text of [
    ...wrong,
    '/{a}/{a}',
    '/{a}b',
    '/{a=**}',
    '/{a=*/*/*}',
    '/{a=x}',
    '/a b',
    '/a?b',
    '/a#',
    '/é',
    '/%61',
  ]) {
    t.type(parsePathPattern(text), 'string', text);
  }
  t.match(parsePathPattern('/v1/{org=*/*}/{id}/**'), {
    params: ['org', 'id'],
    text: '/v1/{org=*/*}/{id}/**',
  });
});

/** Matches by a regular expression made from a pattern known to be harmless. */
function slowMatch(path: string, text: string): boolean {
  const source = text
    .replaceAll('/{x=*/*}', '/[^/]+/[^/]+')
    .replaceAll(/\/\{[a-z]\}/g, '/[^/]+')
    .replaceAll('/**', '(?:/[^/]+)*');
  return new RegExp(`^${source}$`).test(path);
}

t.test('random patterns match as the equivalent regular expressions do', async (t) => {
  const random = new SeededRandom(5);
  const words = ['a', 'b', 'c'];
  const word = () => words[random.below(3)] ?? '';
  let matched = 0;
  for (let i = 0; i < 20_000; i++) {
    const length = random.below(4);
    const parts = Array.from(
      { length },
      (_, at) => [word(), `{${'pqr'[at]}}`, word(), '{x=*/*}'][random.below(at === 0 ? 4 : 3)],
    );
    if (parts.length === 0 || random.next() < 0.3) parts.push('**');
    const text = `/${parts.join('/')}`;
    const path = `/${Array.from({ length: 1 + random.below(5) }, word).join('/')}`;
    const found = one(text)(path) !== undefined;
    if (found) matched += 1;
    if (found !== slowMatch(path, text)) t.fail(`${text} matches ${path} as the regular expression does`);
  }
  t.ok(matched > 1000, `enough paths matched: ${matched}`);
});

/** The rule in one line: routes are tried in the order they are written. */
function firstThatFits(
  entries: readonly RouteEntry<string>[],
  method: string,
  path: string,
): string | undefined {
  const fits = (text: string): boolean => {
    const source = text
      .slice(1)
      .split(/\/(?![^{}]*\})/)
      .map((part) => {
        if (part === '**') return '.*';
        if (part.startsWith('{')) return part.includes('*/*') ? '[^/]+/[^/]+' : '[^/]+';
        return part.replaceAll('.', '\\.');
      })
      .join('/')
      .replace(/\/\.\*$/, '(?:/.*)?');
    return new RegExp(`^/${source === '.*' ? '.*' : source}$`).test(path);
  };
  return entries.find((each) => fits(each.pattern.text) && each.methods.includes(method))?.route;
}

t.test('a tree of routes finds the route that trying them in order would', async (t) => {
  const seeded = new SeededRandom(7);
  const random = (end: number): number => seeded.below(end);
  const pick = <T>(values: readonly T[]): T => values[random(values.length)] as T;
  const names = ['a', 'b', 'c'];
  let found = 0;
  for (let round = 0; round < 300; round++) {
    const entries = Array.from({ length: 1 + random(12) }, (_, number): RouteEntry<string> => {
      const parts = Array.from({ length: random(4) }, (_, at) =>
        pick([...names, `{p${at}}`, `{q${at}=*/*}`]),
      );
      if (random(4) === 0) parts.push('**');
      const pattern = parsePathPattern(`/${parts.join('/')}`);
      if (typeof pattern === 'string') throw new Error(pattern);
      return { methods: [pick(['GET', 'PUT'])], pattern, route: `r${number}` };
    });
    const table = buildRouteTable(entries);
    for (let each = 0; each < 60; each++) {
      const path = `/${Array.from({ length: random(6) }, () => pick(names)).join('/')}`;
      const method = pick(['GET', 'PUT']);
      const match = table.match(method, path);
      const route = match.kind === 'found' ? match.route : undefined;
      if (route !== undefined) found += 1;
      const expected = firstThatFits(entries, method, path);
      if (route !== expected)
        t.equal(
          route,
          expected,
          `${method} ${path}: ${entries.map(({ pattern }) => pattern.text).join(' ')}`,
        );
    }
  }
  t.ok(found > 3000, `enough routes were found: ${found}`);
});
