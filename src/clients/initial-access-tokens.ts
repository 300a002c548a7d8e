/** RFC 7591 initial access tokens: who may register clients where registration is not open. Made by the operator only. */
import { and, asc, eq, gt, inArray, isNull, or, sql } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { initialAccessTokens } from '../db/schema.ts';
import { sha256 } from '../lib/hash.ts';
import { randomToken } from '../lib/random.ts';

/** Makes an initial access token (RFC 7591 §3) and answers it, this once. Without `uses` or `expiresAt` there is no limit. */
export async function createInitialAccessToken(
  db: Database,
  { label, uses, expiresAt }: { label?: string; uses?: number; expiresAt?: Date } = {},
  source?: AuditSource,
): Promise<string> {
  const token = randomToken();
  await db.transaction(async (tx) => {
    await tx.insert(initialAccessTokens).values({
      tokenHash: sha256(token),
      label: label ?? null,
      usesLeft: uses ?? null,
      expiresAt: expiresAt ?? null,
      createdAt: new Date(),
    });
    const details = { initial_access_token: initialAccessTokenId(token), label, uses, expires_at: expiresAt };
    await record(tx, { event: 'initial-access-token.created', source, details });
  });
  return token;
}

/** What a token is called where it must not be shown: it opens nothing. */
export function initialAccessTokenId(token: string): string {
  return idOf({ tokenHash: sha256(token) });
}

function idOf({ tokenHash }: { tokenHash: string }): string {
  return Buffer.from(tokenHash, 'base64url').toString('hex').slice(0, 8);
}

export type InitialAccessToken = {
  id: string;
  label: string | null;
  /** Null is no limit. */
  usesLeft: number | null;
  expiresAt: Date | null;
  createdAt: Date;
};

/** Every token that was not revoked, used up and expired ones too, the oldest first. */
export async function listInitialAccessTokens(db: Database): Promise<InitialAccessToken[]> {
  const rows = await db.select().from(initialAccessTokens).orderBy(asc(initialAccessTokens.createdAt));
  return rows.map(({ tokenHash, ...row }) => ({ id: idOf({ tokenHash }), ...row }));
}

/** Deletes the tokens of this id, in practice one. False when there is none; what was registered with it stays. */
export async function revokeInitialAccessToken(db: Database, id: string, source?: AuditSource): Promise<boolean> {
  return db.transaction(async (tx) => {
    const rows = await tx.select({ tokenHash: initialAccessTokens.tokenHash }).from(initialAccessTokens);
    const hashes = rows.filter((row) => idOf(row) === id).map(({ tokenHash }) => tokenHash);
    const revoked = await tx
      .delete(initialAccessTokens)
      .where(inArray(initialAccessTokens.tokenHash, hashes))
      .returning({ label: initialAccessTokens.label });
    for (const { label } of revoked) {
      const details = { initial_access_token: id, label };
      await record(tx, { event: 'initial-access-token.revoked', source, details });
    }
    return revoked.length > 0;
  });
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
