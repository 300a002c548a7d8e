/** The same flows with few and with many stored grants: two databases, each with its own server, in turn. */
import { openDatabase } from '../src/db/database.ts';
import { type CompareOptions, measureInTurn, type Ratio, speeds } from './compare.ts';
import { flows } from './flows.ts';
import { median, ratio } from './numbers.ts';
import { ownDatabase, startLatchkey } from './providers.ts';

export type Grants = { few: number; many: number; bytes: number; flows: GrantsFlow[] };
type GrantsFlow = { flow: string; title: string; few: number; many: number; ratio: Ratio };

const fewGrants = 1_000;
const touching = [
  'authorization',
  'code-exchange',
  'client-credentials-opaque',
  'refresh',
  'userinfo',
  'introspection',
];

export async function measureGrants(options: CompareOptions & { grants: number }): Promise<Grants> {
  const { databaseUrl, serverCpus: cpus, rounds, seconds, only, progress } = options;
  const few = await startLatchkey('bench_few', { databaseUrl, cpus });
  const many = await startLatchkey('bench_many', { databaseUrl, cpus });
  try {
    await store(await ownDatabase(databaseUrl, 'bench_few'), fewGrants, progress);
    const bytes = await store(await ownDatabase(databaseUrl, 'bench_many'), options.grants, progress);
    const results: GrantsFlow[] = [];
    for (const flow of flows.filter(({ name }) => (only.length > 0 ? only : touching).includes(name))) {
      const loads = await measureInTurn(flow, [few, many], { rounds, seconds, warmUp: seconds, progress });
      const [withFew = [], withMany = []] = loads.map(speeds);
      results.push({
        flow: flow.name,
        title: flow.title,
        few: median(withFew),
        many: median(withMany),
        ratio: ratio(withMany, withFew),
      });
    }
    return { few: fewGrants, many: options.grants, bytes, flows: results };
  } finally {
    await Promise.all([few.stop(), many.stop()]);
  }
}

/**
 * Fills the table up with rows as the flows leave them: to a grant its access tokens, the refresh token in use and one
 * that was rotated. Answers the table's bytes, indexes included.
 */
async function store(url: string, count: number, progress: (text: string) => void): Promise<number> {
  const database = openDatabase(url, { max: 1 });
  // Longer than the ten seconds that a request may wait.
  const client = await database.pool.connect();
  const query = (text: string, values: unknown[] = []) =>
    client.query({ text, values, query_timeout: 3_600_000 } as never);
  try {
    const { rows } = (await query('select count(*)::int as count from oidc_grants')) as { rows: { count: number }[] };
    const step = 50_000;
    for (let stored = rows[0]?.count ?? 0; stored < count; stored += step) {
      progress(`storing grants: ${Math.round(stored / 1000)} of ${count / 1000} thousand`);
      await query(
        `insert into oidc_grants (model, id, payload, grant_id, account_id, client_id, expires_at, consumed_at)
         select m.model, case when m.model = 'Grant' then 'g_' || g.id else encode(sha256((m.model || m.n || g.id)::bytea), 'base64') end,
           jsonb_build_object('iat', 1767225600, 'exp', 1798761600, 'accountId', 'u_' || g.person, 'clientId', 'c_' || g.person % 100,
             'grantId', 'g_' || g.id, 'kind', m.model, 'scope', 'openid email', 'sessionUid', encode(sha256(g.id::text::bytea), 'base64'),
             'claims', '{}'::jsonb, 'gty', 'authorization_code refresh_token', 'authTime', 1767225600),
           case when m.model = 'Grant' then null else 'g_' || g.id end, 'u_' || g.person, 'c_' || g.person % 100,
           now() + interval '30 days' * random(), case when m.n = 2 then now() end
         from (select 's' || n as id, n / 4 as person from generate_series($1::int, $2::int) n) g,
           (values ('Grant', 1), ('AccessToken', 1), ('AccessToken', 3), ('RefreshToken', 1), ('RefreshToken', 2)) m (model, n)
         on conflict do nothing`,
        [Math.floor(stored / 5), Math.floor(Math.min(stored + step, count) / 5)],
      );
    }
    await query('vacuum analyze oidc_grants');
    const size = (await query("select pg_total_relation_size('oidc_grants')::float8 as bytes")) as {
      rows: { bytes: number }[];
    };
    return size.rows[0]?.bytes ?? 0;
  } finally {
    client.release();
    await database.close();
  }
}
