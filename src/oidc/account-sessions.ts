import { and, eq, isNull } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { oidcGrants, oidcSessions } from '../db/schema.ts';

/**
 * Ends every session of an account, in every browser, and deletes the codes, tokens and grants that hang on it,
 * whichever session they came from. Consents stay: once the person has signed in again, clients need not ask anew.
 */
export async function endSessionsOf(db: Database, accountId: string): Promise<void> {
  await db
    .update(oidcSessions)
    .set({ endedAt: new Date() })
    .where(and(eq(oidcSessions.accountId, accountId), isNull(oidcSessions.endedAt)));
  await db.delete(oidcGrants).where(eq(oidcGrants.accountId, accountId));
}
