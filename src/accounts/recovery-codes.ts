/**
 * Recovery codes: ten codes that each stand in for the authenticator app once. They are shown when they are made and
 * never again; 80 random bits each, so that a plain hash keeps them (SECURITY 54).
 */
import { randomBytes } from 'node:crypto';
import { and, count, eq, isNull } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { recoveryCodes } from '../db/schema.ts';
import { sha256 } from '../lib/hash.ts';

const codes = 10;
const characters = 16;
/** Crockford's base 32, without letters that look like digits. */
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/** At this many a person is told to make new ones. */
export const fewRecoveryCodes = 3;

/** Makes new codes in the place of all before, and answers them as people write them. Needs a transaction. */
export async function replaceRecoveryCodes(tx: Database, accountId: string, now = new Date()): Promise<string[]> {
  const fresh = Array.from({ length: codes }, newCode);
  await tx.delete(recoveryCodes).where(eq(recoveryCodes.accountId, accountId));
  await tx
    .insert(recoveryCodes)
    .values(fresh.map((code) => ({ codeHash: hashOf(accountId, code), accountId, createdAt: now })));
  return fresh.map(asShown);
}

export async function deleteRecoveryCodes(tx: Database, accountId: string): Promise<void> {
  await tx.delete(recoveryCodes).where(eq(recoveryCodes.accountId, accountId));
}

/** Uses up `code`, as `readRecoveryCode` gave it, and answers how many are left; undefined when it is good for nothing. */
export async function consumeRecoveryCode(
  db: Database,
  accountId: string,
  code: string,
  now = new Date(),
): Promise<number | undefined> {
  const unused = and(eq(recoveryCodes.accountId, accountId), isNull(recoveryCodes.usedAt));
  const used = await db
    .update(recoveryCodes)
    .set({ usedAt: now })
    .where(and(eq(recoveryCodes.codeHash, hashOf(accountId, code)), unused))
    .returning({ codeHash: recoveryCodes.codeHash });
  if (used.length === 0) return undefined;
  const [left] = await db.select({ left: count() }).from(recoveryCodes).where(unused);
  return left?.left ?? 0;
}

/** What was typed as a code is kept as: no spaces or dashes, lower case, digits for the letters that look like them. */
export function readRecoveryCode(typed: string): string | undefined {
  const code = typed.normalize('NFKC').toLowerCase().replace(/[\s-]/g, '').replaceAll('o', '0').replace(/[il]/g, '1');
  const isCode = code.length === characters && [...code].every((character) => alphabet.includes(character));
  return isCode ? code : undefined;
}

function newCode(): string {
  return Array.from(randomBytes(characters), (byte) => alphabet[byte % alphabet.length]).join('');
}

function asShown(code: string): string {
  return code.match(/.{4}/g)?.join('-') ?? code;
}

function hashOf(accountId: string, code: string): string {
  return sha256(`recovery-code:${accountId}:${code}`);
}
