/** Patterns of names match whole words, and no word makes them slow. */
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

t.test('what cannot be slow is taken', async (t) => {
  for (const pattern of [
    '(?:acme/)?[a-z]+',
    '(?:acme|umbrella)/[a-z0-9]+(?:-v[0-9]{2})?',
    '(?<org>[a-z]+)/(?<name>[a-z]+)',
    '(?:[a-z]{3}-){4}x',
    '(?:ab)*',
    '(?:a[*+?|(){}]b)+',
    String.raw`(?:\(\|\+\{2,3\}\p{Lu}\u{61}[|+*()])+`,
    String.raw`\p{L}{1,5}(?:\.[0-9]){1,3}`,
  ]) {
    t.type(compileNamePattern(pattern), RegExp, pattern);
  }
});

t.test('what can try a word in countless ways is refused', async (t) => {
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
    t.match(compileNamePattern(pattern), /can take any time$/, pattern);
  }
});

t.test('what is no expression, or only one within another, is none', async (t) => {
  for (const pattern of ['[a-z', 'a)|(b', '(', '*']) {
    t.equal(compileNamePattern(pattern), 'is no regular expression', pattern);
  }
});
