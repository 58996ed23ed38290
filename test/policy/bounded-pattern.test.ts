/** Patterns of names match whole words, and no word can make them slow. */
import t from 'tap';
import { compileNamePattern } from '../../gateway/policy/bounded-pattern.ts';

const accepts = (pattern: string, word: string): boolean | string => {
  const compiled = compileNamePattern(pattern);
  return typeof compiled === 'string' ? compiled : compiled.test(word);
};

t.test('a pattern matches the whole word', async (t) => {
  t.equal(accepts('[a-z]{3,32}', 'abc'), true);
  t.equal(accepts('[a-z]{3,32}', 'abc/def'), false);
  t.equal(accepts('a|b', 'ab'), false);
  t.equal(accepts('^[a-z0-9-]{1,32}/[a-z0-9._-]{1,64}$', 'acme/vision-7b'), true);
});

t.test('a pattern that cannot be slow is accepted', async (t) => {
  for (const pattern of [
    '(?:acme/)?[a-z]+',
    '(?:acme|umbrella)/[a-z0-9]+(?:-v[0-9]{2})?',
    '(?<org>[a-z]+)/(?<name>[a-z]+)',
    '(?:[a-z]{3}-){4}x',
    '(?:ab)*',
    '(?:a[*+?|(){}]b)+',
    String.raw`(?:\(\|\+\{2,3\}\p{Lu}\u{61}[|+*()])+`,
    String.raw`\p{L}{1,5}(?:\.[0-9]){1,3}`,
    '[a-z0-9][a-z0-9._-]{0,63}',
    'org-[a-z]+-[0-9]+',
    '[a-z]+[0-9]+[A-Z]*',
    '[^/]+/[^/]+/[^/]+/[^/]+',
    '[a-z0-9]+-?[a-z0-9]+',
    '[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9-]*[a-z0-9])?',
    String.raw`[a-z]+(?:-[a-z]+)?(?:\.[a-z]+)?(?:_[a-z]+)?`,
    String.raw`[a-z0-9-]+(?:-v\d+(?:\.\d+)?)?`,
    '[a-z]+-prod|[a-z]+-test|[a-z]+-dev',
    '(?:acme|umbrella|initech|hooli)/[a-z]+-?[a-z]+',
    String.raw`[a-z]+\d*-?v?\d*`,
  ]) {
    t.type(compileNamePattern(pattern), RegExp, pattern);
  }
});

t.test('a pattern that can try a word in countless ways is refused', async (t) => {
  for (const pattern of [
    '^(a+)+$',
    '(?:[a-z]+-?)*',
    '(?:a|a)*',
    '(?:(?:a|b)c)+',
    '(?:a?){20}',
    '(?:a{1,2}){2,}',
    '(?:[a-z]*)+?',
    '(?<x>a*)*',
    '(?i:a*)*',
    String.raw`([a-z]+)\1`,
    String.raw`(?<x>[a-z]+)\k<x>`,
    '(?=a*b)[a-z]+',
    '[a-z]+(?<!x)',
  ]) {
    t.match(compileNamePattern(pattern), /can take unbounded time$/, pattern);
  }
});

t.test('a pattern that can divide a word in too many ways is refused', async (t) => {
  for (const pattern of [
    '[a-z0-9]+-?[a-z0-9]+-?[a-z0-9]+-?[a-z0-9]+',
    '[a-z0-9]{1,99}[a-z0-9]{1,99}[a-z0-9]+',
    '[a-z-]+-[a-z-]+-[a-z-]+',
    String.raw`.*\b.*\b.*`,
    String.raw`\x61*\u0061*a*`,
    '(?i:[a-z]*[A-Z]*)[a-z]*',
    '[a-z]+[a-z]+/[a-z]+[a-z]+',
    '(?<org>[a-z]*)(?:[a-z]*|-)[a-z]*',
    'a?'.repeat(30),
    '(?:a|ab)'.repeat(11),
    'a*[ab]b*c'.repeat(9),
  ]) {
    t.match(compileNamePattern(pattern), /more than 1024 ways: separate them by a character/, pattern);
  }
});

t.test('an invalid expression, also one valid only inside another, is refused', async (t) => {
  for (const pattern of ['[a-z', 'a)|(b', '(', '*']) {
    t.equal(compileNamePattern(pattern), 'is not a regular expression', pattern);
  }
});
