import { sql } from 'drizzle-orm';
import { chainEvents } from '../../src/audit/chain.ts';
import { record } from '../../src/audit/record.ts';
import type { Database } from '../../src/db/database.ts';

export const key = 'a secret that no database knows';

/** So many events, each with its number. */
export async function write(db: Database, many: number, details: Record<string, unknown> = {}): Promise<void> {
  for (let number = 1; number <= many; number += 1) {
    await record(db, { event: 'key.created', accountId: `u_${number}`, details: { ...details, number } });
  }
}

export async function writeChained(db: Database, many: number): Promise<void> {
  await write(db, many);
  await chainEvents(db, key);
}

export async function places(db: Database): Promise<{ id: number; position: number | null }[]> {
  const { rows } = await db.execute<{ id: number; position: number | null }>(
    sql`select id::int, position::int from audit_events order by id`,
  );
  return rows;
}

class Undone extends Error {}

/** Does `work` with the guard of the table taken away, as an owner of the database could, and undoes it all. */
export async function tampering<T>(db: Database, work: (tx: Database) => Promise<T>): Promise<T> {
  let result: { value: T } | undefined;
  await db
    .transaction(async (tx) => {
      await tx.execute(sql`alter table audit_events disable trigger user`);
      result = { value: await work(tx) };
      throw new Undone();
    })
    .catch((error: unknown) => {
      if (!(error instanceof Undone)) throw error;
    });
  return (result as { value: T }).value;
}
