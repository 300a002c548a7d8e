/**
 * Passkeys (WebAuthn credentials) as their owner sees them: names, last use, removal. How one is made is
 * passkey-registration.ts, how it signs in passkey-sign-in.ts. Only public keys are kept: whoever reads the table can
 * sign in nowhere.
 */
import { and, asc, eq } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { passkeys, users } from '../db/schema.ts';
import type { Encryption } from '../keys/encryption.ts';
import { notifyAccount } from '../mail/notify.ts';
import { forgetBrowsers } from './remembered-devices.ts';

/** A passkey without what proves it. */
export type Passkey = {
  id: string;
  name: string;
  /** Kept by a password manager that copies it to other devices. */
  synced: boolean;
  createdAt: Date;
  lastUsedAt: Date | undefined;
};

export type PasskeyDependencies = { db: Database; encryption: Encryption };

/** In the order in which they were made. */
export async function listPasskeys(db: Database, accountId: string): Promise<Passkey[]> {
  const rows = await db
    .select()
    .from(passkeys)
    .where(eq(passkeys.accountId, accountId))
    .orderBy(asc(passkeys.createdAt), asc(passkeys.credentialId));
  return rows.map(toPasskey);
}

export async function findPasskey(db: Database, accountId: string, id: string): Promise<Passkey | undefined> {
  const [row] = await db.select().from(passkeys).where(owned(accountId, id));
  return row && toPasskey(row);
}

/** False when the account has no such passkey. */
export async function renamePasskey(db: Database, accountId: string, id: string, name: string): Promise<boolean> {
  const renamed = await db
    .update(passkeys)
    .set({ name })
    .where(owned(accountId, id))
    .returning({ id: passkeys.credentialId });
  return renamed.length > 0;
}

export type PasskeyRemoval =
  | { outcome: 'removed' }
  | { outcome: 'unknown' }
  /** Without a password it is the only way into the account. */
  | { outcome: 'last-way-in' };

/**
 * Removes a passkey, tells its owner, and never takes the last way in: two removals at once wait for each other at the
 * account's row.
 */
export function removePasskey(
  { db, encryption }: PasskeyDependencies,
  account: { id: string; email: string },
  id: string,
  source: AuditSource,
): Promise<PasskeyRemoval> {
  return db.transaction(async (tx) => {
    const [owner] = await tx
      .select({ passwordHash: users.passwordHash })
      .from(users)
      .where(eq(users.id, account.id))
      .for('update');
    const all = await listPasskeys(tx, account.id);
    const passkey = all.find((each) => each.id === id);
    if (!owner || !passkey) return { outcome: 'unknown' };
    if (owner.passwordHash === null && all.length === 1) return { outcome: 'last-way-in' };
    await tx.delete(passkeys).where(owned(account.id, id));
    // Whoever held it may also have a browser that is not asked for the second factor.
    await forgetBrowsers(tx, account.id, { source });
    const { name } = passkey;
    await record(tx, { event: 'passkey.removed', accountId: account.id, source, details: { name } });
    await notifyAccount(tx, encryption, account, 'passkey-removed', { source, detail: name });
    return { outcome: 'removed' };
  });
}

function owned(accountId: string, id: string) {
  return and(eq(passkeys.accountId, accountId), eq(passkeys.credentialId, id));
}

function toPasskey(row: typeof passkeys.$inferSelect): Passkey {
  const { credentialId: id, name, backedUp: synced, createdAt, lastUsedAt } = row;
  return { id, name, synced, createdAt, lastUsedAt: lastUsedAt ?? undefined };
}
