import { and, desc, eq } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { consents } from '../db/schema.ts';
import { deleteGrantsOf } from './artifacts.ts';

/** What an account said to a client: scopes, single claims and scopes of APIs, granted and refused alike. */
export type Consent = {
  grantedScopes: string[];
  refusedScopes: string[];
  grantedClaims: string[];
  refusedClaims: string[];
  grantedApiScopes: ApiScopes;
  refusedApiScopes: ApiScopes;
};

/** API identifier → scopes. */
export type ApiScopes = Record<string, string[]>;

export async function findConsent(db: Database, accountId: string, clientId: string): Promise<Consent | undefined> {
  const [row] = await db
    .select({
      grantedScopes: consents.grantedScopes,
      refusedScopes: consents.refusedScopes,
      grantedClaims: consents.grantedClaims,
      refusedClaims: consents.refusedClaims,
      grantedApiScopes: consents.grantedApiScopes,
      refusedApiScopes: consents.refusedApiScopes,
    })
    .from(consents)
    .where(and(eq(consents.accountId, accountId), eq(consents.clientId, clientId)));
  return row;
}

/**
 * Whether a consent that was just copied into a grant is still there; a withdrawal under way is waited for. One that comes
 * later finds the grant.
 */
export async function isConsentHeld(db: Database, accountId: string, clientId: string): Promise<boolean> {
  const held = await db
    .select({ clientId: consents.clientId })
    .from(consents)
    .where(and(eq(consents.accountId, accountId), eq(consents.clientId, clientId)))
    .for('key share');
  return held.length === 1;
}

/** Remembers an answer for every browser. What was asked now replaces what was said before; the rest stays. */
export async function saveConsent(
  db: Database,
  { accountId, clientId, source }: { accountId: string; clientId: string; source: AuditSource },
  answer: Consent,
): Promise<Consent> {
  const now = new Date();
  const row = and(eq(consents.accountId, accountId), eq(consents.clientId, clientId));
  return db.transaction(async (tx) => {
    // Two first answers at once must meet at a row, or the later one would undo the other.
    await tx.insert(consents).values({ accountId, clientId, createdAt: now, updatedAt: now }).onConflictDoNothing();
    const [before] = await tx.select().from(consents).where(row).for('update');
    const merged = before ? mergeConsent(before, answer) : answer;
    await tx
      .update(consents)
      .set({ ...merged, updatedAt: now })
      .where(row);
    await record(tx, { event: 'consent.granted', accountId, clientId, source, details: factsOf(answer) });
    return merged;
  });
}

function factsOf(answer: Consent): Record<string, unknown> {
  return {
    granted: [...answer.grantedScopes, ...answer.grantedClaims],
    refused: [...answer.refusedScopes, ...answer.refusedClaims],
    ...(Object.keys(answer.grantedApiScopes).length > 0 && { granted_at_apis: answer.grantedApiScopes }),
    ...(Object.keys(answer.refusedApiScopes).length > 0 && { refused_at_apis: answer.refusedApiScopes }),
  };
}

function mergeConsent(before: Consent, answer: Consent): Consent {
  return {
    grantedScopes: merge(before.grantedScopes, answer.grantedScopes, answer.refusedScopes),
    refusedScopes: merge(before.refusedScopes, answer.refusedScopes, answer.grantedScopes),
    grantedClaims: merge(before.grantedClaims, answer.grantedClaims, answer.refusedClaims),
    refusedClaims: merge(before.refusedClaims, answer.refusedClaims, answer.grantedClaims),
    grantedApiScopes: mergeApis(before.grantedApiScopes, answer.grantedApiScopes, answer.refusedApiScopes),
    refusedApiScopes: mergeApis(before.refusedApiScopes, answer.refusedApiScopes, answer.grantedApiScopes),
  };
}

function mergeApis(before: ApiScopes, added: ApiScopes, removed: ApiScopes): ApiScopes {
  const apis = [...new Set([...Object.keys(before), ...Object.keys(added)])];
  return Object.fromEntries(apis.map((api) => [api, merge(before[api] ?? [], added[api] ?? [], removed[api] ?? [])]));
}

function merge(before: string[], added: string[], removed: string[]): string[] {
  return [...new Set([...before.filter((name) => !removed.includes(name)), ...added])];
}

/** The clients that an account has allowed something, newest first. */
export async function listConsents(
  db: Database,
  accountId: string,
): Promise<{ clientId: string; scopes: string[]; apiScopes: ApiScopes; since: Date }[]> {
  return db
    .select({
      clientId: consents.clientId,
      scopes: consents.grantedScopes,
      apiScopes: consents.grantedApiScopes,
      since: consents.createdAt,
    })
    .from(consents)
    .where(eq(consents.accountId, accountId))
    .orderBy(desc(consents.createdAt));
}

/** Takes everything back that an account allowed a client; its tokens stop working with it. */
export async function withdrawConsent(
  db: Database,
  accountId: string,
  clientId: string,
  source?: AuditSource,
): Promise<void> {
  await db.transaction(async (tx) => {
    const withdrawn = await tx
      .delete(consents)
      .where(and(eq(consents.accountId, accountId), eq(consents.clientId, clientId)))
      .returning({ clientId: consents.clientId });
    await deleteGrantsOf(tx, accountId, clientId);
    if (withdrawn.length > 0) await record(tx, { event: 'consent.withdrawn', accountId, clientId, source });
  });
}
