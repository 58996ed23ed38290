/** A reload that ends when its gateway has stopped changes nothing, and leaves nothing open. */
import t from 'tap';
import { LivePolicy } from '../../gateway/policy/live.ts';
import { loadPolicy } from '../../gateway/policy/load.ts';
import { PolicySources } from '../../gateway/policy/sources.ts';
import { createAuthorities, writePolicyFolder } from './policy-folder.ts';

t.test('a policy that is closed before or amid a reload stays, and nobody hears of another', async (t) => {
  const authorities = await createAuthorities();
  for (const moment of ['before', 'amid'] as const) {
    const folder = await writePolicyFolder(t, authorities);
    const sources = new PolicySources({ mode: 'follow' });
    const { policy, ...read } = await loadPolicy(folder.path, 1000, { sources });
    if (policy === undefined) throw new Error('the folder has faults');
    let heard = 0;
    let isAmid = false;
    const stop = (): void => {
      live.close();
      sources.close();
    };
    const live = new LivePolicy(
      folder.path,
      { ...read, policy },
      sources,
      () => 2000,
      () => {
        heard += 1;
      },
      {
        onGateway: () => {
          isAmid = true;
          if (moment === 'amid') stop();
        },
        onTenant: () => undefined,
      },
    );
    await folder.write('tenants/lists/more.cidr', '192.0.2.9\n');
    await folder.edit('tenants/tenant-a.yaml', 'lists/partners.cidr', 'lists/more.cidr');
    const reloads = [live.reload(), live.reload()];
    if (moment === 'before') stop();
    for (const outcome of await Promise.all(reloads)) t.match(outcome, { successful: false, policy }, moment);
    t.equal(isAmid, moment === 'amid');
    t.equal(live.current, policy);
    t.equal(heard, 0);
    t.same([...sources.lists.registered], [], 'no list is followed');
  }
});
