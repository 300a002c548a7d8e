/**
 * Whether storage stays bounded: a million sign-ins come and go in rounds while a sweep runs, and rows and bytes after each
 * round are printed. A round stands for an hour. Ends with status 1 if the tables keep growing.
 *
 *   node bench/storage.ts [sign-ins] [rounds]
 *
 * It makes a database of its own in the PostgreSQL at DATABASE_URL, or starts one in a temporary folder.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Database, openDatabase } from '../src/db/database.ts';
import { startEmbedded } from '../src/db/embedded.ts';
import { migrate } from '../src/db/migrate.ts';
import { withClient } from '../src/db/single-connection.ts';
import { retentions, tableNameOf } from '../src/ops/retention.ts';
import { sweep } from '../src/ops/sweep.ts';
import { ownDatabase } from './providers.ts';

const hourMs = 60 * 60 * 1000;
const atOnce = 5_000;

export type Round = { round: number; signIns: number; swept: number; rows: number; bytes: number };

/** The tables that a sign-in writes to. */
export const hotTables = ['oidc_grants', 'oidc_sessions', 'oidc_session_ids', 'oidc_interaction', 'throttles'];

/**
 * Makes `signIns` sign-ins a round, while what is over is swept. Each leaves an interaction, a session with its cookie
 * values, a grant, a code that was used, an access token and, every second one, a refresh token (offline_access).
 */
export async function runRounds(
  db: Database,
  { rounds, signIns, afterRound }: { rounds: number; signIns: number; afterRound?: (round: Round) => unknown },
): Promise<Round[]> {
  const start = Date.now();
  const results: Round[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const now = new Date(start + round * hourMs);
    const inserting = insertSignIns(db, { now, first: round * signIns, count: signIns });
    // What falls due in this round goes while new rows come, and the rest when they are there.
    const [meanwhile] = await Promise.all([sweep(db, { now }), inserting]);
    const swept = [...meanwhile, ...(await sweep(db, { now }))];
    const result = {
      round: round + 1,
      signIns: signIns * (round + 1),
      swept: swept.reduce((sum, { deleted }) => sum + deleted, 0),
      ...(await measure(db)),
    };
    results.push(result);
    await afterRound?.(result);
  }
  return results;
}

/** True when the largest of the last third is not much more than the largest of the second. */
export function levelsOff(results: readonly Round[], of: 'rows' | 'bytes'): boolean {
  const third = Math.floor(results.length / 3);
  const most = (some: readonly Round[]) => Math.max(...some.map((round) => round[of]));
  return most(results.slice(-third)) <= 1.15 * most(results.slice(-2 * third, -third));
}

async function measure(db: Database): Promise<{ rows: number; bytes: number }> {
  const { rows } = await db.execute<{ rows: number; bytes: number }>(`
    select sum((xpath('/row/n/text()', query_to_xml('select count(*) as n from ' || name, true, true, '')))[1]::text::int)::int
      as rows, sum(pg_total_relation_size(name::regclass))::float8 as bytes
    from unnest(array['${hotTables.join("','")}']) name`);
  return rows[0] ?? { rows: 0, bytes: 0 };
}

async function insertSignIns(
  db: Database,
  { now, first, count }: { now: Date; first: number; count: number },
): Promise<void> {
  for (let done = 0; done < count; done += atOnce) {
    for (const statement of signInRows(now, first + done, Math.min(atOnce, count - done))) await db.execute(statement);
  }
}

/** Each time is chosen so that the row falls due so many hours after `now`, however long it is kept beyond its end. */
function signInRows(now: Date, first: number, count: number): string[] {
  const due = (table: string, column: string, hours: number) => {
    const retention = retentions.find((one) => tableNameOf(one) === table && one.at.name === column);
    if (!retention) throw new Error(`nothing is kept in ${table}.${column}`);
    const at = now.getTime() + hours * hourMs - retention.keptSeconds * 1000;
    return `'${new Date(at).toISOString()}'::timestamptz`;
  };
  const numbers = `generate_series(${first}, ${first + count - 1}) i`;
  const id = (kind: string) => `translate(encode(sha256(('${kind}' || i)::bytea), 'base64'), '+/=', '-_')`;
  const account = `'u_' || (i % 20000)`;
  const lasts = 'i % 2 = 0';
  const token = (kind: string) => `jsonb_build_object('iat', 1790000000, 'exp', 1790003600, 'accountId', ${account},
    'kind', '${kind}', 'clientId', 'c_storage', 'grantId', ${id('grant')}, 'gty', 'authorization_code',
    'sessionUid', ${id('uid')}, 'scope', 'openid profile email offline_access', 'claims', jsonb_build_object(),
    'authTime', 1790000000, 'nonce', ${id('nonce')}, 'acr', '1', 'amr', jsonb_build_array('pwd'))`;
  const artifact = (model: string, hours: number, { where = 'true', used = false } = {}) => `
    insert into oidc_grants (model, id, payload, grant_id, account_id, client_id, expires_at, consumed_at)
    select '${model}', ${id(model)}, ${token(model)}, ${id('grant')}, ${account}, 'c_storage',
      ${due('oidc_grants', 'expiresAt', hours)}, ${used ? 'now()' : 'null'} from ${numbers} where ${where}`;
  const request = `jsonb_build_object('client_id', 'c_storage', 'redirect_uri', 'https://app.example/callback',
    'scope', 'openid profile email', 'state', ${id('state')}, 'nonce', ${id('nonce')}, 'code_challenge', ${id('pkce')},
    'code_challenge_method', 'S256', 'response_type', 'code')`;
  return [
    `insert into oidc_interaction (id, payload, client_id, account_id, expires_at, finished_at)
     select ${id('interaction')}, jsonb_build_object('kind', 'Interaction', 'params', ${request}, 'returnTo',
       'https://id.example/oidc/auth/{uid}', 'prompt', jsonb_build_object('name', 'login', 'reasons',
       jsonb_build_array('no_session'), 'details', jsonb_build_object())), 'c_storage', ${account},
       ${due('oidc_interaction', 'expiresAt', 1)}, now() from ${numbers}`,
    `insert into oidc_sessions (uid, account_id, payload, login_ts, user_agent, address, expires_at)
     select ${id('uid')}, ${account}, jsonb_build_object('kind', 'Session', 'uid', ${id('uid')}, 'accountId', ${account},
       'amr', jsonb_build_array('pwd'), 'authorizations', jsonb_build_object('c_storage', jsonb_build_object('sid', ${id('sid')},
       'grantId', ${id('grant')}, 'persistsLogout', ${lasts}))), 1790000000,
       'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', '192.0.2.' || i % 250,
       ${due('oidc_sessions', 'expiresAt', 3)} from ${numbers}`,
    `insert into oidc_session_ids (id_hash, uid, until)
     select ${id('cookie')}, ${id('uid')}, null from ${numbers}
     union all select ${id('old cookie')}, ${id('uid')}, ${due('oidc_session_ids', 'until', 0)} from ${numbers}`,
    `insert into oidc_grants (model, id, payload, account_id, client_id, expires_at)
     select 'Grant', ${id('grant')}, jsonb_build_object('kind', 'Grant', 'accountId', ${account}, 'clientId', 'c_storage',
       'openid', jsonb_build_object('scope', 'openid profile email offline_access')), ${account}, 'c_storage',
       ${due('oidc_grants', 'expiresAt', 211 * 24)} from ${numbers}`,
    artifact('AuthorizationCode', 0, { used: true }),
    artifact('AccessToken', 1),
    artifact('RefreshToken', 5, { where: lasts }),
    `insert into throttles (key, hits, window_ends_at)
     select ${id('address')}, 1, ${due('throttles', 'windowEndsAt', 0)} from ${numbers}`,
  ];
}

async function openScratch(): Promise<{ db: Database; close(): Promise<void> }> {
  const given = process.env.DATABASE_URL;
  const folder = given ? undefined : await mkdtemp(join(tmpdir(), 'latchkey-storage-'));
  // As often as a busy machine would need it; by itself PostgreSQL looks once a minute, and a round takes seconds here.
  const settings = { autovacuum_naptime: '2s', max_wal_size: '4GB' };
  const log = { info: () => {}, warn: (message: string) => void process.stderr.write(`${message}\n`) };
  const embedded = folder ? await startEmbedded({ dataDir: folder, log, settings }) : undefined;
  const server = given ?? embedded?.url ?? '';
  const name = `latchkey_storage_${randomBytes(4).toString('hex')}`;
  const url = await ownDatabase(server, name);
  await migrate(url);
  const { db, close } = openDatabase(url);
  return {
    db,
    async close() {
      await close();
      await withClient(
        server,
        'latchkey-bench',
        (client) => client.query(`drop database ${name} with (force)`),
        30_000,
      );
      await embedded?.stop();
      if (folder) await rm(folder, { recursive: true });
    },
  };
}

export async function main([signIns = '1000000', rounds = '40']: readonly string[]): Promise<boolean> {
  const { db, close } = await openScratch();
  try {
    const startedAt = performance.now();
    process.stdout.write('round       sign-ins   rows swept  rows there     MB  seconds\n');
    const results = await runRounds(db, {
      rounds: Number(rounds),
      signIns: Math.ceil(Number(signIns) / Number(rounds)),
      afterRound: ({ round, signIns, swept, rows, bytes }) => {
        const seconds = (performance.now() - startedAt) / 1000;
        const cells: [number | string, number][] = [
          [round, 5],
          [signIns, 15],
          [swept, 13],
          [rows, 12],
          [(bytes / 1e6).toFixed(1), 7],
          [seconds.toFixed(0), 9],
        ];
        process.stdout.write(`${cells.map(([cell, width]) => String(cell).padStart(width)).join('')}\n`);
      },
    });
    const level = levelsOff(results, 'rows') && levelsOff(results, 'bytes');
    process.stdout.write(level ? 'The size levels off.\n' : 'The size keeps growing.\n');
    return level;
  } finally {
    await close();
  }
}

if (import.meta.main) process.exitCode = (await main(process.argv.slice(2))) ? 0 : 1;
