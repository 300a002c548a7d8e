import { and, eq, gt, inArray, isNull, or, type SQL, sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { oidcGrants, oidcSessions } from '../db/schema.ts';
import type { Encryption } from '../keys/encryption.ts';
import { sha256 } from '../lib/hash.ts';
import { originLives } from './derived-grants.ts';

export type Payload = Record<string, unknown>;

/** What the library stores under a model's name and a raw id. `expiresIn` is in seconds; undefined never expires. */
type Artifact = { model: string; id: string; payload: Payload; expiresIn: number | undefined };

/** The stored form of an id: a grant id is no credential, everything else is kept as SHA-256 only. */
export function storedId(model: string, id: string): string {
  return model === 'Grant' ? id : sha256(id);
}

/**
 * Inserts or replaces an artefact. The id is taken out of the payload, and so is `consumed`, which has a column of its
 * own that only `consumeArtifact` writes.
 */
export async function upsertArtifact(db: Database, encryption: Encryption, artifact: Artifact): Promise<void> {
  const row = rowOf(encryption, artifact);
  const { model, id, consumedAt, ...columns } = row;
  await db
    .insert(oidcGrants)
    .values(row)
    .onConflictDoUpdate({ target: [oidcGrants.model, oidcGrants.id], set: columns });
}

/**
 * Inserts or replaces a grant. One that was not there begins with nothing: its id follows from session, account and
 * client, so what a request under way stored just after a revocation would come to life again with its successor.
 */
export async function upsertGrant(db: Database, encryption: Encryption, grant: Artifact): Promise<void> {
  const row = rowOf(encryption, grant);
  const { model, id, consumedAt, ...columns } = row;
  await db.transaction(async (tx) => {
    const inserted = await tx.insert(oidcGrants).values(row).onConflictDoNothing().returning({ id: oidcGrants.id });
    if (inserted.length === 1) await tx.delete(oidcGrants).where(eq(oidcGrants.grantId, id));
    else
      await tx
        .update(oidcGrants)
        .set(columns)
        .where(and(eq(oidcGrants.model, model), eq(oidcGrants.id, id)));
  });
}

/** Inserts an artefact that must be new. False when one with this id is there and has not expired. */
export async function insertArtifact(db: Database, encryption: Encryption, artifact: Artifact): Promise<boolean> {
  const { model, id, ...columns } = rowOf(encryption, artifact);
  const inserted = await db
    .insert(oidcGrants)
    .values({ model, id, ...columns })
    .onConflictDoUpdate({
      target: [oidcGrants.model, oidcGrants.id],
      set: columns,
      setWhere: sql`${oidcGrants.expiresAt} <= ${new Date().toISOString()}::timestamptz`,
    })
    .returning({ id: oidcGrants.id });
  return inserted.length === 1;
}

/**
 * Inserts a code that a session gives out. False when the session has ended; an end under way is waited for, and one that
 * comes later finds the code.
 */
export async function insertArtifactOfSession(
  db: Database,
  encryption: Encryption,
  artifact: Artifact,
  sessionUid: string,
): Promise<boolean> {
  const { model, id, payload, grantId, accountId, clientId, expiresAt } = rowOf(encryption, artifact);
  const { rowCount } = await db.execute(sql`
    with live as (select from ${oidcSessions} where uid = ${sessionUid} and ended_at is null for share)
    insert into ${oidcGrants} (model, id, payload, grant_id, account_id, client_id, expires_at)
    select ${model}, ${id}, ${JSON.stringify(payload)}::jsonb, ${grantId}, ${accountId}, ${clientId},
      ${expiresAt?.toISOString() ?? null}::timestamptz
    from live`);
  return rowCount === 1;
}

function rowOf(encryption: Encryption, { model, id, payload, expiresIn }: Artifact): typeof oidcGrants.$inferInsert {
  const { jti, consumed, ...rest } = payload;
  const text = (value: unknown) => (typeof value === 'string' ? value : null);
  return {
    model,
    id: storedId(model, id),
    payload: rest,
    grantId: text(payload.grantId),
    userCode: text(payload.userCode),
    accountId: text(payload.accountId),
    clientId: text(payload.clientId),
    idEncrypted: model === 'DeviceCode' ? encryption.encrypt(id, model) : null,
    expiresAt: expiresIn === undefined ? null : new Date(Date.now() + expiresIn * 1000),
    consumedAt: typeof consumed === 'number' ? new Date(consumed * 1000) : consumed ? new Date() : null,
  };
}

type Stored = { payload: Payload; consumedAt: Date | null };

/** An artefact by its id, `jti` put back; expired is absent. */
export async function findArtifact(
  db: Database,
  model: string,
  id: string,
  options: { leewaySeconds?: number } = {},
): Promise<Payload | undefined> {
  const itself = and(eq(oidcGrants.model, model), eq(oidcGrants.id, storedId(model, id)));
  const found = await findOne(db, model === 'Grant' ? and(itself, originLives(db)) : itself);
  return found && { ...withConsumed(found, options.leewaySeconds), jti: id };
}

async function findOne(db: Database, where: SQL | undefined): Promise<Stored | undefined> {
  const [row] = await db
    .select({ payload: oidcGrants.payload, consumedAt: oidcGrants.consumedAt })
    .from(oidcGrants)
    .where(and(where, or(isNull(oidcGrants.expiresAt), gt(oidcGrants.expiresAt, new Date()))));
  return row;
}

/** Within the leeway a consumed artefact looks fresh: a refresh whose answer was lost may be repeated. */
function withConsumed({ payload, consumedAt }: Stored, leewaySeconds = 0): Payload {
  if (!consumedAt || consumedAt.getTime() + leewaySeconds * 1000 > Date.now()) return payload;
  return { ...payload, consumed: Math.floor(consumedAt.getTime() / 1000) };
}

/**
 * Marks an artefact as used, in the one statement that also decides who was first: of parallel calls exactly one gets
 * true. With a leeway, calls within that many seconds of the first succeed too, and the first one's time stays.
 */
export async function consumeArtifact(
  db: Database,
  model: string,
  id: string,
  options: { leewaySeconds?: number } = {},
): Promise<boolean> {
  const now = new Date();
  const usable =
    options.leewaySeconds === undefined || options.leewaySeconds === 0
      ? isNull(oidcGrants.consumedAt)
      : or(
          isNull(oidcGrants.consumedAt),
          gt(oidcGrants.consumedAt, new Date(now.getTime() - options.leewaySeconds * 1000)),
        );
  const consumed = await db
    .update(oidcGrants)
    .set({ consumedAt: sql`coalesce(${oidcGrants.consumedAt}, ${now.toISOString()}::timestamptz)` })
    .where(
      and(
        eq(oidcGrants.model, model),
        eq(oidcGrants.id, storedId(model, id)),
        or(isNull(oidcGrants.expiresAt), gt(oidcGrants.expiresAt, now)),
        usable,
      ),
    )
    .returning({ id: oidcGrants.id });
  return consumed.length === 1;
}

export async function deleteArtifact(db: Database, model: string, id: string): Promise<void> {
  await db.delete(oidcGrants).where(and(eq(oidcGrants.model, model), eq(oidcGrants.id, storedId(model, id))));
}

/**
 * Deletes a token with all that hangs on the same grant, in one statement: the library destroys the token first and the
 * rest after, and a crash in between would leave the rest without anything to revoke it by.
 */
export async function deleteTokenFamily(db: Database, model: string, id: string): Promise<void> {
  const itself = and(eq(oidcGrants.model, model), eq(oidcGrants.id, storedId(model, id)));
  const sameGrant = db.select({ grantId: oidcGrants.grantId }).from(oidcGrants).where(itself);
  await deleteInOrder(db, or(itself, inArray(oidcGrants.grantId, sameGrant)));
}

/** Deletes all that hangs on a grant, whatever its model. */
export async function deleteArtifactsOfGrant(db: Database, grantId: string): Promise<void> {
  await deleteInOrder(db, eq(oidcGrants.grantId, grantId));
}

/** Deletes grants with everything that hangs on them: tokens, codes and the grants themselves. Answers what was there. */
export async function deleteGrants(db: Database, grantIds: readonly string[]): Promise<Deleted[]> {
  if (grantIds.length === 0) return [];
  const ids = [...grantIds];
  return deleteInOrder(
    db,
    or(inArray(oidcGrants.grantId, ids), and(eq(oidcGrants.model, 'Grant'), inArray(oidcGrants.id, ids))),
  );
}

type Deleted = { model: string; id: string; consumedAt: Date | null };

/** Two revocations of one family would block each other for good if each locked the rows in an order of its own. */
async function deleteInOrder(db: Database, where: SQL | undefined): Promise<Deleted[]> {
  const { model, id, consumedAt } = oidcGrants;
  const doomed = db.select({ model, id }).from(oidcGrants).where(where).orderBy(model, id).for('update');
  return db.delete(oidcGrants).where(sql`(${model}, ${id}) in ${doomed}`).returning({ model, id, consumedAt });
}

/** Deletes all that an account ever allowed a client, or any client, in whichever session. */
export async function deleteGrantsOf(db: Database, accountId: string, clientId?: string): Promise<void> {
  const ofClient = clientId === undefined ? undefined : eq(oidcGrants.clientId, clientId);
  await deleteInOrder(db, and(eq(oidcGrants.accountId, accountId), ofClient));
}
