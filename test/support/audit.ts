import { sql } from 'drizzle-orm';
import type { Database } from '../../src/db/database.ts';

/** An audit log without events, as retention would leave it; the database itself refuses any other way. */
export async function clearAuditLog(db: Database): Promise<void> {
  await db.transaction(async (tx) => {
    await tx.execute(sql`select set_config('latchkey.audit', 'retention', true)`);
    await tx.execute(sql`delete from audit_events`);
  });
}
