/**
 * A lease: of all instances one at a time does a piece of work, and when it dies another one goes on soon. Time is the
 * database's, since clocks of machines differ. It holds no connection, so any pooler may be in between. Whoever lost
 * a lease without noticing may go on for a moment: what is done under one must be harmless when two do it.
 */
import { type SQL, sql } from 'drizzle-orm';
import type { Database } from './database.ts';
import { leases } from './schema.ts';

/** Takes the lease for `seconds` from now. False while anybody has it, oneself included. */
export async function takeLease(db: Database, name: string, holder: string, seconds: number): Promise<boolean> {
  const { rowCount } = await db.execute(sql`
    insert into ${leases} as lease (name, holder, until) values (${name}, ${holder}, ${inSeconds(seconds)})
    on conflict (name) do update set holder = excluded.holder, until = excluded.until
    where lease.until <= clock_timestamp()`);
  return rowCount === 1;
}

/** Has one's lease end `seconds` from now; 0 gives it up. False when somebody else has taken it. */
export async function keepLease(db: Database, name: string, holder: string, seconds: number): Promise<boolean> {
  const { rowCount } = await db.execute(
    sql`update ${leases} set until = ${inSeconds(seconds)} where name = ${name} and holder = ${holder}`,
  );
  return rowCount === 1;
}

function inSeconds(seconds: number): SQL {
  return sql`clock_timestamp() + make_interval(secs => ${seconds}::float8)`;
}
