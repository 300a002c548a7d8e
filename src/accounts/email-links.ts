/**
 * Links in mails: 256 random bits of which the database has the hash, good once and for a while. What is done when one
 * comes back is sealed beside it. Using one is a single DELETE, so of two uses at once one finds nothing.
 */
import { and, eq, gt, inArray } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { emailTokens } from '../db/schema.ts';
import { DecryptionError, type Encryption } from '../keys/encryption.ts';
import { sha256 } from '../lib/hash.ts';
import { randomToken } from '../lib/random.ts';

export type LinkPurpose = (typeof emailTokens.$inferSelect)['purpose'];

/** A link that is good now. `tokenHash` is its name. */
export type EmailLink = { tokenHash: string; purpose: LinkPurpose; accountId: string | null; payload: unknown };

export type NewLink = {
  purpose: LinkPurpose;
  accountId?: string | undefined;
  lifetimeSeconds: number;
  /** Anything that JSON can hold. */
  payload?: unknown;
};

/** Stores a link and answers its token, which is to be in the mail and nowhere else. */
export async function createLink(
  db: Database,
  encryption: Encryption,
  { purpose, accountId, lifetimeSeconds, payload }: NewLink,
  now = new Date(),
): Promise<string> {
  const token = randomToken();
  const tokenHash = sha256(token);
  await db.insert(emailTokens).values({
    tokenHash,
    purpose,
    accountId: accountId ?? null,
    payloadEncrypted: payload === undefined ? null : encryption.encrypt(JSON.stringify(payload), sealedFor(tokenHash)),
    expiresAt: new Date(now.getTime() + lifetimeSeconds * 1000),
    createdAt: now,
  });
  return token;
}

const sealedFor = (tokenHash: string) => `email-link:${tokenHash}`;

/** The link of a token, without using it: mail scanners and previews open links, too. */
export async function findLink(
  db: Database,
  encryption: Encryption,
  token: unknown,
  purposes: readonly LinkPurpose[],
): Promise<EmailLink | undefined> {
  if (!isToken(token)) return undefined;
  const [row] = await db
    .select()
    .from(emailTokens)
    .where(isGood(sha256(token), purposes));
  return row && opened(encryption, row);
}

/** The account's links of these purposes that are good now, with their end. */
export async function listLinks(
  db: Database,
  encryption: Encryption,
  accountId: string,
  purposes: readonly LinkPurpose[],
): Promise<(EmailLink & { expiresAt: Date })[]> {
  const rows = await db
    .select()
    .from(emailTokens)
    .where(
      and(
        eq(emailTokens.accountId, accountId),
        inArray(emailTokens.purpose, [...purposes]),
        gt(emailTokens.expiresAt, new Date()),
      ),
    );
  return rows.flatMap((row) => {
    const link = opened(encryption, row);
    return link ? [{ ...link, expiresAt: row.expiresAt }] : [];
  });
}

/** Seals something else beside a link. */
export async function setLinkPayload(
  db: Database,
  encryption: Encryption,
  { tokenHash }: Pick<EmailLink, 'tokenHash'>,
  payload: unknown,
): Promise<void> {
  const payloadEncrypted = encryption.encrypt(JSON.stringify(payload), sealedFor(tokenHash));
  await db.update(emailTokens).set({ payloadEncrypted }).where(eq(emailTokens.tokenHash, tokenHash));
}

/** Uses a link up, in the transaction of what it does. Undefined when it was used already, has run out or is none. */
export async function consumeLink(
  db: Database,
  encryption: Encryption,
  token: unknown,
  purposes: readonly LinkPurpose[],
): Promise<EmailLink | undefined> {
  if (!isToken(token)) return undefined;
  const [row] = await db
    .delete(emailTokens)
    .where(isGood(sha256(token), purposes))
    .returning();
  return row && opened(encryption, row);
}

/** Ends the account's links of that purpose. */
export async function deleteLinks(db: Database, accountId: string, purposes: readonly LinkPurpose[]): Promise<void> {
  await db
    .delete(emailTokens)
    .where(and(eq(emailTokens.accountId, accountId), inArray(emailTokens.purpose, [...purposes])));
}

function isGood(tokenHash: string, purposes: readonly LinkPurpose[]) {
  return and(
    eq(emailTokens.tokenHash, tokenHash),
    inArray(emailTokens.purpose, [...purposes]),
    gt(emailTokens.expiresAt, new Date()),
  );
}

function isToken(token: unknown): token is string {
  return typeof token === 'string' && /^[\w-]{43}$/.test(token);
}

/** A link sealed with a key that was taken away is as good as none. */
function opened(encryption: Encryption, row: typeof emailTokens.$inferSelect): EmailLink | undefined {
  const { tokenHash, purpose, accountId, payloadEncrypted } = row;
  try {
    const payload = payloadEncrypted && JSON.parse(encryption.decrypt(payloadEncrypted, sealedFor(tokenHash)));
    return { tokenHash, purpose, accountId, payload };
  } catch (error) {
    if (error instanceof DecryptionError) return undefined;
    throw error;
  }
}
