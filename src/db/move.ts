/**
 * An installation that moves to another database, or has moved. From then on triggers refuse every change here, in the
 * transaction in which they are made: what was acknowledged before is all there, and nothing can be acknowledged after.
 * Servers answer 503 then, as for a database that is read-only, and are not ready any more once the copy is in use. The mark
 * is the triggers' function, with a comment.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { inCopyTransaction, tableNames } from './copy-tables.ts';
import { type Database, sqlState } from './database.ts';

/** `to` names the other database, without user and password. */
export type Move = { to: string; state: 'moving' | 'moved'; since: string };

const lockNotAvailable = '55P03';
const tries = 12;

export async function findMove(db: Pick<Database, 'execute'>): Promise<Move | undefined> {
  const { rows } = await db.execute<{ comment: string | null }>(
    sql`select obj_description(to_regprocedure('latchkey_moved()')::oid, 'pg_proc') as comment`,
  );
  return rows[0]?.comment ? (JSON.parse(rows[0].comment) as Move) : undefined;
}

/** What there is to know of a move, and what to do: a sentence together, for whoever starts a server here. */
export function describeMove({ to, state, since }: Move): { found: string; fix: string } {
  return state === 'moved'
    ? {
        found: `This installation was moved to ${to} on ${since.slice(0, 10)}`,
        fix: 'set DATABASE_URL to that database',
      }
    : {
        found: `This installation is being moved to ${to}`,
        fix: 'run promote again to finish that, or promote --cancel to stay here',
      };
}

export function sentenceOf(move: Move): string {
  const { found, fix } = describeMove(move);
  return `${found}: ${fix}.`;
}

/**
 * Refuses every change of the database at `url` from now on; `first` is done in the same transaction, as the last one.
 * Waits for transactions under way, in short turns, so that requests do not queue up behind.
 * @throws when a table was in use for too long; nothing is changed then
 */
export async function startMove(url: string, to: string, first: (tx: Database) => Promise<void>): Promise<Move> {
  const move: Move = { to, state: 'moving', since: new Date().toISOString() };
  for (let attempt = 1; ; attempt++) {
    try {
      await inCopyTransaction(url, 'change', async ({ db }) => {
        // Shorter than a second at first, after which PostgreSQL looks for deadlocks and ends somebody else's work.
        await db.execute(sql`select set_config('lock_timeout', ${`${Math.min(attempt * 300, 3_000)}ms`}, true)`);
        const tables = sql.join(
          tableNames.map((name) => sql.identifier(name)),
          sql`, `,
        );
        await db.execute(sql`lock table ${tables} in share row exclusive mode`);
        await first(db);
        await refuseChanges(db);
        await mark(db, move);
      });
      return move;
    } catch (error) {
      if (sqlState(error) !== lockNotAvailable || attempt === tries) throw error;
      await delay(attempt * 50);
    }
  }
}

/** SQLSTATE 25006, read_only_sql_transaction: whoever sees it waits for another database. */
async function refuseChanges(db: Database): Promise<void> {
  await db.execute(sql`
    create function latchkey_moved() returns trigger language plpgsql as $$
    begin
      raise exception 'this installation has moved to another database' using errcode = '25006';
    end $$`);
  for (const name of tableNames) {
    await db.execute(sql`
      create trigger latchkey_moved before insert or update or delete or truncate on ${sql.identifier(name)}
      for each statement execute function latchkey_moved()`);
  }
}

export async function finishMove(url: string, move: Move): Promise<void> {
  await inCopyTransaction(url, 'change', ({ db }) => mark(db, { ...move, state: 'moved' }));
}

/** The installation stays here and can be changed again; `last` is done in the same transaction. */
export async function cancelMove(url: string, last: (tx: Database) => Promise<void>): Promise<void> {
  await inCopyTransaction(url, 'change', async ({ db }) => {
    await db.execute(sql`drop function latchkey_moved() cascade`);
    await last(db);
  });
}

async function mark(db: Database, move: Move): Promise<void> {
  const text = JSON.stringify(move).replaceAll("'", "''");
  await db.execute(sql.raw(`comment on function latchkey_moved() is '${text}'`));
}
