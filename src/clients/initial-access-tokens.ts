import { and, eq, gt, isNull, or, sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { initialAccessTokens } from '../db/schema.ts';
import { sha256 } from '../lib/hash.ts';
import { randomToken } from '../lib/random.ts';

/** Makes an initial access token (RFC 7591 §3) and answers it, this once. Without `uses` or `expiresAt` there is no limit. */
export async function createInitialAccessToken(
  db: Database,
  { label, uses, expiresAt }: { label?: string; uses?: number; expiresAt?: Date } = {},
): Promise<string> {
  const token = randomToken();
  await db.insert(initialAccessTokens).values({
    tokenHash: sha256(token),
    label: label ?? null,
    usesLeft: uses ?? null,
    expiresAt: expiresAt ?? null,
    createdAt: new Date(),
  });
  return token;
}

/** True when the token could be consumed now. Nothing is reserved: only `consumeInitialAccessToken` decides. */
export async function isInitialAccessTokenUsable(db: Database, token: string): Promise<boolean> {
  const found = await db.select({ label: initialAccessTokens.label }).from(initialAccessTokens).where(usable(token));
  return found.length === 1;
}

/** Takes one use off the token, in the statement that also decides whether there was one left. */
export async function consumeInitialAccessToken(db: Database, token: string): Promise<boolean> {
  const consumed = await db
    .update(initialAccessTokens)
    .set({ usesLeft: sql`${initialAccessTokens.usesLeft} - 1` })
    .where(usable(token))
    .returning({ tokenHash: initialAccessTokens.tokenHash });
  return consumed.length === 1;
}

function usable(token: string) {
  const { tokenHash, usesLeft, expiresAt } = initialAccessTokens;
  return and(
    eq(tokenHash, sha256(token)),
    or(isNull(usesLeft), gt(usesLeft, 0)),
    or(isNull(expiresAt), gt(expiresAt, new Date())),
  );
}
