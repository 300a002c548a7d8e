/**
 * People and what is known about them. An address belongs to one account in its normalised form; the database's unique
 * index is what decides, never a look beforehand. How a password is checked is in authenticate.ts and nowhere else;
 * who is signed in is the business of sessions.
 */
import { domainToASCII } from 'node:url';
import { and, asc, eq, getTableColumns, isNull, type SQL, sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';
import { randomToken } from '../lib/random.ts';

/** An account without its password hash, which leaves this folder's password code for nobody. */
export type Account = Readonly<Omit<typeof users.$inferSelect, 'passwordHash'>>;

const { passwordHash: _, ...accountColumns } = getTableColumns(users);

/** The form in which an address is unique: trimmed, NFKC, lower case, the domain in ASCII (RFC 5891). */
export function normalizeEmail(email: string): string {
  const address = email.trim().normalize('NFKC').toLowerCase();
  const at = address.lastIndexOf('@');
  const domain = address.slice(at + 1);
  return address.slice(0, at + 1) + (domainToASCII(domain) || domain);
}

/** Creates an account, unless the address has one already. `sub`s are 128 random bits and never used again. */
export async function createAccount(
  db: Database,
  { email, name, passwordHash, emailVerified = false }: NewAccount,
  now = new Date(),
): Promise<{ outcome: 'created'; account: Account } | { outcome: 'email-taken' }> {
  const [account] = await db
    .insert(users)
    .values({
      id: `u_${randomToken(16)}`,
      email,
      emailNormalized: normalizeEmail(email),
      emailVerified,
      name,
      passwordHash,
      createdAt: now,
      updatedAt: now,
    })
    .onConflictDoNothing({ target: users.emailNormalized })
    .returning(accountColumns);
  return account ? { outcome: 'created', account } : { outcome: 'email-taken' };
}

export type NewAccount = { email: string; name: string; passwordHash: string | null; emailVerified?: boolean };

export function findAccount(db: Database, id: string): Promise<Account | undefined> {
  return findOne(db, eq(users.id, id));
}

/** The account if it may be used now: a suspended one, or one about to be deleted, is as good as absent. */
export function findActiveAccount(db: Database, id: string): Promise<Account | undefined> {
  return findOne(db, and(eq(users.id, id), isNull(users.suspendedAt), isNull(users.deletionAt)));
}

/** Whether `findActiveAccount` would find it; a change under way is waited for. */
export async function isActiveAccount(db: Database, id: string): Promise<boolean> {
  const active = and(eq(users.id, id), isNull(users.suspendedAt), isNull(users.deletionAt));
  return (await db.select({ id: users.id }).from(users).where(active).for('share')).length === 1;
}

export function findAccountByEmail(db: Database, email: string): Promise<Account | undefined> {
  return findOne(db, eq(users.emailNormalized, normalizeEmail(email)));
}

async function findOne(db: Database, condition: SQL | undefined): Promise<Account | undefined> {
  const [account] = await db.select(accountColumns).from(users).where(condition);
  return account;
}

/** Accounts in the order they were made, `limit` of them, beginning behind the one whose id is `after`. */
export function listAccounts(
  db: Database,
  { limit = 50, after }: { limit?: number; after?: string | undefined } = {},
): Promise<Account[]> {
  const behind = sql`(${users.createdAt}, ${users.id}) > (select created_at, id from users where id = ${after})`;
  return db
    .select(accountColumns)
    .from(users)
    .where(after === undefined ? undefined : behind)
    .orderBy(asc(users.createdAt), asc(users.id))
    .limit(limit);
}

/** What a person may say about themselves. A field left out keeps its value; null removes it. */
export type Profile = Partial<
  Pick<
    typeof users.$inferInsert,
    | 'name'
    | 'givenName'
    | 'familyName'
    | 'middleName'
    | 'nickname'
    | 'preferredUsername'
    | 'profile'
    | 'picture'
    | 'website'
    | 'gender'
    | 'birthdate'
    | 'zoneinfo'
    | 'locale'
    | 'phoneNumber'
    | 'streetAddress'
    | 'locality'
    | 'region'
    | 'postalCode'
    | 'country'
  >
>;

/** Saves a profile; a phone number that changed counts as unverified again. Undefined when there is no such account. */
export async function updateProfile(
  db: Database,
  accountId: string,
  profile: Profile,
  now = new Date(),
): Promise<Account | undefined> {
  const { phoneNumber } = profile;
  const [account] = await db
    .update(users)
    .set({
      ...profile,
      updatedAt: now,
      ...(phoneNumber !== undefined && {
        phoneNumberVerified: sql`${users.phoneNumberVerified} and ${users.phoneNumber} is not distinct from ${phoneNumber}`,
      }),
    })
    .where(eq(users.id, accountId))
    .returning(accountColumns);
  return account;
}
