import { sql } from 'drizzle-orm';
import { type Database, isUnavailable, reasonOf } from '../db/database.ts';
import { type MigrationState, migrationState, oldestVersion } from '../db/migrations.ts';
import { describeMove, findMove, type Move } from '../db/move.ts';
import { tableSizes } from '../db/table-sizes.ts';
import { formatBytes } from '../lib/bytes.ts';
import { sweepLag } from '../ops/sweep.ts';
import { compareClock } from './clock.ts';
import { type DoctorConfig, type Finding, ok, problem, warning } from './finding.ts';

type Facts = {
  nowMs: number;
  version: number;
  versionText: string;
  standby: boolean;
  readOnly: boolean;
  connections: number;
  roleLimit: number;
  databaseLimit: number;
  othersConnections: number;
  autovacuum: boolean;
  bytes: number;
};

const slowMs = 50;
const looks = 5;
/** Beside the pool: one that listens, and one for a moment at start. */
const connectionsBesidePool = 2;
const sweepLateSeconds = 10 * 60;
const sweepStuckSeconds = 60 * 60;

/** The database and how it is reached. Answers also whether what is in it can be looked at. */
export async function checkDatabase(
  db: Database,
  config: DoctorConfig,
): Promise<{ findings: Finding[]; usable: boolean }> {
  let facts: Facts;
  let answerMs: number;
  let clock: Finding;
  try {
    answerMs = await quickestAnswer(db);
    const startedAt = performance.now();
    const now = Date.now();
    facts = await readFacts(db);
    const halfMs = (performance.now() - startedAt) / 2;
    clock = compareClock('clock database', 'the database', facts.nowMs - now - halfMs, halfMs);
  } catch (error) {
    return { findings: [unreached(error)], usable: false };
  }
  const state = await migrationState(db);
  const move = await findMove(db);
  return {
    findings: [
      checkLatency(answerMs),
      checkVersion(facts),
      checkWritable(facts, move),
      clock,
      checkMigrations(state),
      checkConnections(facts, config),
    ],
    usable: state.pending === 0,
  };
}

/** The quickest of some: one may have met another that was long. */
async function quickestAnswer(db: Database): Promise<number> {
  // The first also connects.
  await db.execute(sql`select 1`);
  let quickest = Number.POSITIVE_INFINITY;
  for (let left = looks; left > 0; left -= 1) {
    const startedAt = performance.now();
    await db.execute(sql`select 1`);
    quickest = Math.min(quickest, performance.now() - startedAt);
  }
  return quickest;
}

function unreached(error: unknown): Finding {
  const reason = reasonOf(error);
  return problem(
    'database',
    `The database cannot be used: ${reason}.`,
    isUnavailable(error)
      ? 'Start PostgreSQL, let it be reached from here, or set DATABASE_URL right.'
      : 'Set user, password and database of DATABASE_URL right, or make that user and database.',
  );
}

async function readFacts(db: Database): Promise<Facts> {
  const { rows } = await db.execute<Facts>(sql`select
    (extract(epoch from clock_timestamp()) * 1000)::float8 as "nowMs",
    current_setting('server_version_num')::int / 10000 as version,
    current_setting('server_version') as "versionText",
    pg_is_in_recovery() as standby,
    current_setting('transaction_read_only') = 'on' as "readOnly",
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
      - coalesce(current_setting('reserved_connections', true)::int, 0) as connections,
    (select rolconnlimit from pg_roles where rolname = current_user) as "roleLimit",
    (select datconnlimit from pg_database where datname = current_database()) as "databaseLimit",
    (select count(*)::int from pg_stat_activity
      where backend_type = 'client backend' and application_name not like 'latchkey%') as "othersConnections",
    current_setting('autovacuum') = 'on' as autovacuum,
    pg_database_size(current_database())::float8 as bytes`);
  const [facts] = rows;
  if (!facts) throw new Error('PostgreSQL answered nothing');
  return facts;
}

function checkLatency(answerMs: number): Finding {
  const found = `The database answers in ${answerMs.toFixed(1)} ms.`;
  if (answerMs < slowMs) return ok('database', found);
  return warning('database', found, 'Bring server and database closer: a sign-in takes some twenty such answers.');
}

function checkVersion({ version, versionText }: Facts): Finding {
  if (version >= oldestVersion) return ok('database version', `PostgreSQL ${versionText}.`);
  return problem('database version', `PostgreSQL ${versionText}.`, `Upgrade it to ${oldestVersion} or later.`);
}

function checkWritable({ standby, readOnly }: Facts, move: Move | undefined): Finding {
  if (move) {
    const { found, fix } = describeMove(move);
    return problem('database role', `${found}, and takes no changes here.`, `${fix[0]?.toUpperCase()}${fix.slice(1)}.`);
  }
  if (standby) {
    return problem(
      'database role',
      'DATABASE_URL leads to a standby, which takes no changes.',
      'Lead it to the primary: several hosts with target_session_attrs, or a name that follows fail-over.',
    );
  }
  if (!readOnly) return ok('database role', 'It takes changes.');
  return problem(
    'database role',
    'Transactions are read-only.',
    'Set default_transaction_read_only off, for this user and this database too.',
  );
}

function checkMigrations({ pending, unknown }: MigrationState): Finding {
  if (pending > 0) {
    return problem(
      'migrations',
      `${pending} ${pending === 1 ? 'migration is' : 'migrations are'} pending.`,
      'Run `npm run latchkey -- migrate` (`migrate plan` says what it does), or start the server, which does it too.',
    );
  }
  if (unknown === 0) return ok('migrations', 'The tables are those of this version.');
  return warning(
    'migrations',
    `A newer version has changed the tables (${unknown} ${unknown === 1 ? 'migration' : 'migrations'} not known here).`,
    'Run the newer version here, too.',
  );
}

function checkConnections(facts: Facts, { databasePoolSize, workers }: DoctorConfig): Finding {
  const limits = [facts.connections, facts.roleLimit, facts.databaseLimit].filter((limit) => limit >= 0);
  const available = Math.min(...limits);
  const wanted = (databasePoolSize + connectionsBesidePool) * workers;
  const asks = `${workers} ${workers === 1 ? 'process' : 'processes'} of this server may open ${wanted} connections`;
  const lower = Math.max(1, Math.floor(available / workers) - connectionsBesidePool);
  const mend = `Raise max_connections (or the limit of the role or database), or set DATABASE_POOL_SIZE=${lower}; every other instance counts as well.`;
  if (wanted > available) return problem('connections', `${asks}, and PostgreSQL allows ${available}.`, mend);
  if (wanted + facts.othersConnections > available) {
    const others = `and others have ${facts.othersConnections} of the ${available} that PostgreSQL allows`;
    return warning('connections', `${asks}, ${others}.`, mend);
  }
  return ok('connections', `${asks} of the ${available} that PostgreSQL allows.`);
}

/** What is in the tables of a migrated database. */
export async function checkTables(db: Database): Promise<Finding[]> {
  const { autovacuum, bytes } = await readFacts(db);
  const largest = (await tableSizes(db)).slice(0, 3).map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`);
  const size = `The database has ${formatBytes(bytes)}, of that ${largest.join(', ')}.`;
  const tables = autovacuum
    ? ok('tables', size)
    : problem('tables', 'Autovacuum is off: tables only grow.', 'Set autovacuum on in postgresql.conf, and reload it.');
  return [tables, checkSweep(await sweepLag(db))];
}

function checkSweep(seconds: number): Finding {
  if (seconds < sweepLateSeconds) return ok('sweep', 'Expired rows are deleted in time.');
  const found = `The oldest row that should be gone has been there for ${Math.round(seconds / 60)} minutes too long.`;
  const fix = 'Let a server run, which sweeps by itself; `npm run latchkey -- sweep` does it now.';
  return (seconds < sweepStuckSeconds ? warning : problem)('sweep', found, fix);
}
