/** A path that passes reads the same to servers that normalise it, decode it, or do neither. */
import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { checkPath, decodePath } from '../../gateway/core/request-target.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

const vectors = new URL('../../../shared/vectors/path-normalization/cases.json', import.meta.url);

const passing = [
  ...[
    '/',
    '/a',
    '/v1/models/m_1/weights',
    '/a.',
    '/.a',
    '/a..b',
    '/...',
    '/a/.well-known',
    '/~user',
    "/a!$&'()*+,=:@b",
  ],
  ...['/a;v=1', '/a;..', '/%20', '/a%3Ab', '/%C3%A9', '/%e2%82%ac', '/a%2Eb', '/%2e%2e%2e', '/.%61', '/a%7E'],
];

const refused = [
  ...['', 'a', '*', 'a/b', '//', '//a', '/a/', '/a//b', '/a/b//', '///'],
  ...[
    '/.',
    '/..',
    '/./a',
    '/../a',
    '/a/.',
    '/a/..',
    '/a/./b',
    '/a/../b',
    '/%2e',
    '/%2E%2e',
    '/.%2e/a',
    '/a/%2e./b',
  ],
  ...['/..;/a', '/a/..;x=1/b', '/.;', '/%2e%2e;/a'],
  ...[
    '/a\\b',
    '/a#b',
    '/a?b',
    '/a b',
    '/a\tb',
    '/a\x00b',
    '/a\x7fb',
    '/a\r\nb',
    '/\u00e9',
    '/a\xff',
    '/a\u0130',
  ],
  ...['/%', '/%1', '/%zz', '/a%', '/a%2', '/%%36%36', '/% 1', '/%+1', '/%0x', '/%u002e'],
  ...['/a%5Cb', '/a%5cb', '/a%00b', '/a%3Bb', '/a%3bb', '/a%25b', '/a%252e', '/a%3Fb', '/a%3fb', '/a%23b'],
  ...[
    '/%02',
    '/a%0d%0ab',
    '/a%1f',
    '/a%7f',
    '/%c0%af',
    '/%c0%ae%c0%ae/a',
    '/%e0%80%af',
    '/%ff',
    '/%80',
    '/%ed%a0%80',
  ],
];

t.test('plain paths pass', async (t) => {
  for (const path of passing) t.same(checkPath(path), { encodedSlash: false }, path);
});

t.test('paths with more than one reading are refused', async (t) => {
  for (const path of refused) t.type(checkPath(path), 'string', JSON.stringify(path));
});

t.test('an encoded slash is reported for the route to judge', async (t) => {
  for (const path of ['/a%2Fb', '/a%2fb/c', '/%2F']) t.same(checkPath(path), { encodedSlash: true }, path);
  t.type(checkPath('/a%2F%5c'), 'string');
  for (const path of ['/a/..%2Fb', '/a%2f..', '/a%2F%2e%2fb', '/..;x%2Fb', '/a%2f..%2fb', '/.%2F']) {
    t.equal(checkPath(path), 'The path has a dot segment', path);
  }
  for (const path of ['/a..%2Fb', '/a%2F...', '/a%2f..b', '/..a%2Fb'])
    t.same(checkPath(path), { encodedSlash: true }, path);
});

t.test('decoding leaves encoded slashes alone', async (t) => {
  t.equal(decodePath('/%61dmin/%C3%A9%2Fx%2fy'), '/admin/é%2Fx%2fy');
  t.equal(decodePath('/%zz'), undefined);
  t.equal(decodePath('/%ff'), undefined);
});

/** What the laxest server makes of a path: it merges slashes and backslashes, resolves dots and cuts off parameters. */
function normalised(path: string): string {
  const kept: string[] = [];
  for (const segment of path.replaceAll('\\', '/').split('/')) {
    const name = segment.split(';')[0] ?? '';
    if (name === '..') kept.pop();
    else if (segment !== '' && name !== '.') kept.push(segment);
  }
  return `/${kept.join('/')}`;
}

/** Decodes each escape to one byte, as a server without UTF-8 does. */
const lax = (path: string) =>
  path.replace(/%([0-9A-Fa-f]{2})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 16)));

t.test('a path that passes keeps its segments through decoding and normalising', async (t) => {
  const random = new SeededRandom(11);
  const pieces = [
    '/',
    '/',
    '.',
    '..',
    'a',
    'B',
    ';',
    '%2e',
    '%2E',
    '%2f',
    '%5c',
    '\\',
    '%',
    '%61',
    '%00',
    '#',
    '?',
    '%c3%a9',
  ];
  let passed = 0;
  for (let i = 0; i < 100_000; i++) {
    const path = `/${Array.from({ length: random.below(8) }, () => pieces[random.below(pieces.length)]).join('')}`;
    const shape = checkPath(path);
    if (typeof shape === 'string') continue;
    passed += 1;
    if (normalised(path) !== path) t.fail(`${path} normalises to ${normalised(path)}`);
    if (shape.encodedSlash) continue;
    const decoded = lax(path);
    if (normalised(decoded) !== decoded) t.fail(`${path} decodes to ${decoded}`);
    if (decoded.split('/').length !== path.split('/').length) t.fail(`${path} decodes to other segments`);
    if (/[?#\\%\0]/.test(decoded)) t.fail(`${path} decodes to structure`);
  }
  t.ok(passed > 5000, `enough paths passed: ${passed}`);
});

interface Vector {
  readonly op: string;
  readonly in: string;
  readonly out: string | number | null;
}

/** These decode, fold case or sort: readings the route table compares for itself, or that concern the query. */
const OTHER_OPS = /percent|sort_query/;

t.test(
  'no path that other servers rewrite passes',
  { skip: existsSync(vectors) ? false : 'no outside vectors here' },
  async (t) => {
    const cases: Vector[] = JSON.parse(readFileSync(vectors, 'utf8'));
    const pathOf = (target: string) => target.split('?')[0] ?? '';
    let rewritten = 0;
    for (const { op, in: target, out } of cases) {
      if (OTHER_OPS.test(op)) continue;
      const path = pathOf(target);
      const same = typeof out === 'string' && pathOf(out) === path;
      if (same) continue;
      rewritten += 1;
      const shape = checkPath(path);
      t.ok(typeof shape === 'string' || shape.encodedSlash, `${op}: ${JSON.stringify(path)} is refused`);
    }
    t.ok(rewritten > 50, `enough paths are rewritten somewhere: ${rewritten}`);
  },
);
