/** The client is the first hop from the right that is not a trusted proxy; nothing a client writes can change that. */
import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { type Address, parseAddress, parsePrefix } from '../../gateway/core/address.ts';
import { type ForwardingFacts, resolveClient } from '../../gateway/core/forwarded.ts';
import { buildPrefixTree, type PrefixTree } from '../../gateway/core/prefix-tree.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

const vectors = new URL('../../../shared/vectors/xff/cases.json', import.meta.url);

function address(text: string): Address {
  const read = parseAddress(text);
  if (read === undefined) throw new Error(`${text} is no address`);
  return read;
}

function trust(cidrs: readonly string[]): PrefixTree {
  return buildPrefixTree(
    cidrs.map((text) => {
      const prefix = parsePrefix(text);
      if (typeof prefix === 'string') throw new Error(prefix);
      return prefix;
    }),
  );
}

const trusted = trust(['10.0.0.0/8']);

/** Returns the address of the client, or undefined for a fault. */
function client(
  lines: readonly string[],
  peer = '10.0.0.5',
  header: ForwardingFacts['header'] = 'x-forwarded-for',
): string | undefined {
  const found = resolveClient({ peer: address(peer), trusted, header, lines });
  return typeof found === 'string' ? undefined : found.address.text;
}

t.test('X-Forwarded-For is read from the right as far as trusted proxies go', async (t) => {
  t.equal(client(['6.6.6.6, 203.0.113.5']), '203.0.113.5');
  t.equal(client(['203.0.113.5, 10.0.0.9']), '203.0.113.5');
  t.equal(
    client(['anything', '7.7.7.7'], '198.51.100.1'),
    '198.51.100.1',
    'an untrusted peer is not believed',
  );
  t.equal(client(['10.0.0.1, 10.0.0.2']), '10.0.0.1', 'if all hops are trusted the left-most is the client');
  t.equal(client(['::ffff:203.0.113.5'], '::ffff:10.0.0.5'), '203.0.113.5');
  t.equal(client([]), '10.0.0.5');
  t.equal(client(['1.1.1.1', '2.2.2.2,10.1.1.1', '10.2.2.2']), '2.2.2.2', 'several lines form one list');
});

t.test('entries are addresses, optionally with port and brackets', async (t) => {
  t.equal(client(['\t 203.0.113.5:4711 ']), '203.0.113.5');
  t.equal(client(['[2001:db8::1]:4711']), '2001:db8::1');
  t.equal(client(['[2001:db8::1]']), '2001:db8::1');
  t.equal(client(['2001:DB8::1']), '2001:db8::1');
  const none = [
    '',
    ' ',
    'unknown',
    '_hidden',
    'localhost',
    '010.0.0.1',
    '127.1',
    '1.2.3.4:',
    '1.2.3.4:65536',
    '[::1',
  ];
  for (const entry of [
    ...none,
    '::1]',
    '[1.2.3.4]',
    'fe80::1%eth0',
    '1.2.3.4\xa0',
    '"1.2.3.4"',
    '[::1]:',
    '1.2.3.4/32',
  ]) {
    t.equal(client([`203.0.113.5, ${entry}`]), undefined, `${JSON.stringify(entry)} must not be skipped`);
    t.equal(client([`${entry}, 203.0.113.5`]), '203.0.113.5', 'entries left of the client are not looked at');
  }
});

t.test('the hops are those that were believed, with the peer first', async (t) => {
  const lines = ['6.6.6.6, 203.0.113.5, 10.0.0.8', '10.0.0.9'];
  const found = resolveClient({ peer: address('10.0.0.5'), trusted, header: 'x-forwarded-for', lines });
  t.match(found, { hops: [{ text: '10.0.0.5' }, { text: '10.0.0.9' }, { text: '10.0.0.8' }] });
  t.same(resolveClient({ peer: address('9.9.9.9'), trusted, header: 'forwarded', lines: ['!'] }), {
    address: address('9.9.9.9'),
    hops: [],
  });
});

t.test('sixty-four proxies are believed, and one more is refused', async (t) => {
  const proxies = (count: number) => new Array<string>(count).fill('10.0.0.1').join(',');
  t.equal(client([`203.0.113.5,${proxies(63)}`]), '203.0.113.5');
  t.equal(client([`203.0.113.5,${proxies(64)}`]), undefined);
  t.equal(client([`${proxies(5000)},203.0.113.5`]), '203.0.113.5', 'entries a client writes are not counted');
});

const forwarded = (...lines: string[]) => client(lines, '10.0.0.5', 'forwarded');

t.test('Forwarded is read by its whole grammar', async (t) => {
  t.equal(forwarded('for=203.0.113.5'), '203.0.113.5');
  t.equal(forwarded('for="[2001:db8::1]:4711"'), '2001:db8::1');
  t.equal(forwarded('For="203.0.113.5:80";Proto=https;by=_edge , for=10.0.0.9'), '203.0.113.5');
  t.equal(forwarded('for=6.6.6.6', 'for=203.0.113.5, for=10.0.0.9;host="a, b; c"'), '203.0.113.5');
  t.equal(forwarded(String.raw`for="203.0.113\.5"`), '203.0.113.5', 'a quoted pair stands for its character');
  t.equal(
    forwarded('for=unknown, for=203.0.113.5'),
    '203.0.113.5',
    'a node left of the client may be unknown',
  );
});

t.test('ports of Forwarded may be hidden, and pairs left out', async (t) => {
  t.equal(forwarded('for="203.0.113.5:_a.B-9_"'), '203.0.113.5');
  t.equal(forwarded('for="[2001:db8::1]:_p"'), '2001:db8::1');
  t.equal(client(['203.0.113.5:_p']), undefined, 'but not those of X-Forwarded-For');
  for (const line of ['for=203.0.113.5;', ';for=203.0.113.5', 'by=_x;;for=203.0.113.5 ; ;proto=http;'])
    t.equal(forwarded(line), '203.0.113.5', line);
  for (const line of [',for=203.0.113.5', 'for=6.6.6.6,, for=203.0.113.5', ';;, for=203.0.113.5'])
    t.equal(forwarded(line), '203.0.113.5', `${line}: what is left of the client may be empty`);
  for (const line of ['for=6.6.6.6, ;', 'for=6.6.6.6,,for=10.0.0.9', ',', ';', 'for=6.6.6.6, for=10.0.0.9;,'])
    t.equal(forwarded(line), undefined, `${line}: an empty element hides its hop`);
  t.equal(forwarded('for=6.6.6.6', ''), undefined, 'and so does an empty line');
  const ports = ['1.2.3.4:_', '1.2.3.4:_p:80', '1.2.3.4:p', '1.2.3.4:_é', '2001:db8::1:_p'];
  for (const node of [
    ...ports,
    '[::1]_p',
    '1.2.3.4:80_',
    'unknown:_p',
    '_hidden:_p',
    '010.0.0.1:_p',
    '[::1%1]:_p',
  ])
    t.equal(forwarded(`for="${node}"`), undefined, node);
});

t.test('a Forwarded field that breaks the grammar or hides the hop is refused', async (t) => {
  const broken = [
    '',
    'for',
    'for=',
    'for=;',
    '=1.2.3.4',
    'for=1.2.3.4,',
    'for =1.2.3.4',
    'for=1.2.3.4; by',
    ';=',
  ];
  const hidden = [
    'for=unknown',
    'for=_hidden',
    'for="_hidden"',
    'by=203.0.113.5',
    'proto=https',
    'for=2001:db8::1',
  ];
  const unquoted = [
    'for=[2001:db8::1]',
    'for=1.2.3.4:80',
    'for="1.2.3.4',
    'for="a"b',
    'for=1.2.3.4 by=x',
    'for="\x01"',
  ];
  for (const line of [
    ...broken,
    ...hidden,
    ...unquoted,
    'for=1.2.3.4;for=5.6.7.8',
    'for=1.2.3.4;FOR=1.2.3.4',
  ]) {
    t.equal(forwarded(line), undefined, line);
  }
});

t.test('an open quote cannot swallow what a proxy appends', async (t) => {
  for (const bait of ['for="', 'for="x', 'for="\\', 'by="', 'for=203.0.113.66;x="']) {
    const found = forwarded(`${bait}, for="203.0.113.5"`);
    t.ok(
      found === undefined || found === '203.0.113.5',
      `${bait} gives ${found}, which is the fault or the client of the proxy`,
    );
    const other = forwarded(bait, 'for=203.0.113.5');
    t.ok(other === undefined || other === '203.0.113.5', `${bait} in a line of its own gives ${other}`);
  }
});

t.test('the cost of a hostile line is bounded by its length', async (t) => {
  t.equal(client([`${' '.repeat(200_000)}x`]), undefined);
  t.equal(forwarded(`for="${'\\a'.repeat(100_000)}`), undefined);
  t.equal(forwarded(`${'for=a;'.repeat(20_000)}`), undefined);
  t.equal(forwarded(`${'; '.repeat(100_000)}`), undefined);
});

/** The rule in its plainest form, for addresses only. */
function oracle(peer: string, entries: readonly string[], isTrusted: (text: string) => boolean): string {
  const chain = [...entries, peer];
  let at = chain.length - 1;
  while (at > 0 && isTrusted(chain[at] ?? '')) at -= 1;
  return chain[at] ?? '';
}

t.test('random chains give the client of the plain rule, however they are split and extended', async (t) => {
  const random = new SeededRandom(3);
  const pool = ['10.0.0.1', '10.255.0.2', '9.255.255.255', '11.0.0.0', '203.0.113.5', '2001:db8::1'];
  const pick = () => pool[random.below(pool.length)] ?? '';
  for (let i = 0; i < 20_000; i++) {
    const peer = pick();
    const entries = Array.from({ length: random.below(6) }, pick);
    const expected = oracle(peer, entries, (text) => text.startsWith('10.'));
    const lines: string[] = [];
    for (const entry of entries) {
      if (lines.length === 0 || random.next() < 0.3) lines.push(entry);
      else lines.push(`${lines.pop()}${[',', ', ', ' ,\t'][random.below(3)]}${entry}`);
    }
    if (client(lines, peer) !== expected) t.fail(`${peer} with ${JSON.stringify(lines)} is not ${expected}`);
    const allTrusted = [...entries, peer].every((text) => text.startsWith('10.'));
    if (!allTrusted && client(['6.6.6.6, !"', ...lines], peer) !== expected)
      t.fail('a prepended line moved the client');
  }
});

interface Vector {
  readonly id: string;
  readonly remote: string | null;
  readonly xff: readonly string[];
  readonly trusted: readonly string[] | null;
  readonly expect_client: string;
  readonly strict?: string;
}

interface TokenVector {
  readonly token: string;
  readonly parse: string | null;
}

t.test(
  'the test cases of other gateways give the expected client',
  { skip: existsSync(vectors) ? false : 'no outside vectors here' },
  async (t) => {
    const { cases, tokens }: { cases: Vector[]; tokens: TokenVector[] } = JSON.parse(
      readFileSync(vectors, 'utf8'),
    );
    for (const { id, remote, xff, trusted: cidrs, expect_client: expected, strict } of cases) {
      // Without a peer there is no connection, and we have no rule that counts hops.
      if (remote === null || cidrs === null) continue;
      const facts = {
        peer: address(remote),
        trusted: trust(cidrs),
        header: 'x-forwarded-for',
        lines: xff,
      } as const;
      const found = resolveClient(facts);
      if (strict === undefined) t.match(found, { address: { text: address(expected).text } }, `case ${id}`);
      else t.type(found, 'string', `case ${id}: ${expected} is no address`);
    }
    for (const { token, parse } of tokens) {
      // We refuse zone ids, which some strip, and empty members, which some skip.
      const expected = token.includes('%') ? undefined : (parse ?? undefined);
      if (token.trim() === token) t.equal(client([token]), expected, JSON.stringify(token));
    }
  },
);
