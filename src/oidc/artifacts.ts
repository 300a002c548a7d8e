import { and, eq, inArray, or, type SQL, sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { oidcGrants, oidcSessions } from '../db/schema.ts';
import { type Places, run, statement } from '../db/statement.ts';
import type { Encryption } from '../keys/encryption.ts';
import { sha256 } from '../lib/hash.ts';

export type Payload = Record<string, unknown>;

/** What the library stores under a model's name and a raw id. `expiresIn` is in seconds; undefined never expires. */
type Artifact = { model: string; id: string; payload: Payload; expiresIn: number | undefined };

/** The stored form of an id: a grant id is no credential, everything else is kept as SHA-256 only. */
export function storedId(model: string, id: string): string {
  return model === 'Grant' ? id : sha256(id);
}

type Row = typeof oidcGrants.$inferInsert;

/** The columns of a row that has no secret of its own and was not used. */
type Columns = Record<'model' | 'id' | 'payload', string> &
  Record<'grantId' | 'accountId' | 'clientId' | 'expiresAt', string | null>;

function columnsOf({ model, id, payload, grantId, accountId, clientId, expiresAt }: Row): Columns {
  return {
    model,
    id,
    payload: JSON.stringify(payload),
    grantId: grantId ?? null,
    accountId: accountId ?? null,
    clientId: clientId ?? null,
    expiresAt: expiresAt?.toISOString() ?? null,
  };
}

/** What comes in the place of `values`. */
function insertion({ model, id, payload, grantId, accountId, clientId, expiresAt }: Places<Columns>): SQL {
  return sql`insert into ${oidcGrants} (model, id, payload, grant_id, account_id, client_id, expires_at)
    select ${model}::text, ${id}::text, ${payload}::jsonb, ${grantId}::text, ${accountId}::text, ${clientId}::text,
      ${expiresAt}::timestamptz`;
}

const upsertion = statement<Columns & Record<'userCode' | 'idEncrypted' | 'consumedAt', string | null>>(
  ({ model, id, payload, grantId, userCode, accountId, clientId, idEncrypted, expiresAt, consumedAt }) => sql`
    insert into ${oidcGrants}
      (model, id, payload, grant_id, user_code, account_id, client_id, id_encrypted, expires_at, consumed_at)
    values (${model}, ${id}, ${payload}::jsonb, ${grantId}, ${userCode}, ${accountId}, ${clientId}, ${idEncrypted},
      ${expiresAt}::timestamptz, ${consumedAt}::timestamptz)
    on conflict (model, id) do update set payload = excluded.payload, grant_id = excluded.grant_id,
      user_code = excluded.user_code, account_id = excluded.account_id, client_id = excluded.client_id,
      id_encrypted = excluded.id_encrypted, expires_at = excluded.expires_at`,
);

/**
 * Inserts or replaces an artefact. The id is taken out of the payload, and so is `consumed`, which has a column of its
 * own that only `consumeArtifact` writes.
 */
export async function upsertArtifact(db: Database, encryption: Encryption, artifact: Artifact): Promise<void> {
  const row = rowOf(encryption, artifact);
  const { userCode = null, idEncrypted = null, consumedAt } = row;
  await run(db, upsertion, {
    ...columnsOf(row),
    userCode,
    idEncrypted,
    consumedAt: consumedAt?.toISOString() ?? null,
  });
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

const insertionOfSession = statement<Columns & { sessionUid: string }>(
  (values) => sql`
    with live as (select from ${oidcSessions} where uid = ${values.sessionUid} and ended_at is null for share)
    ${insertion(values)} from live`,
);

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
  const { rowCount } = await run(db, insertionOfSession, { ...columnsOf(rowOf(encryption, artifact)), sessionUid });
  return rowCount === 1;
}

function rowOf(encryption: Encryption, { model, id, payload, expiresIn }: Artifact): Row {
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

type Use = { model: string; id: string; now: string; leewaySeconds: number | null };

/**
 * The statement that uses an artefact up, and changes no row when it cannot be used (any more). The time of use is the
 * database's: one's own may differ from that of the instance where a lost answer is asked for again, and a database that
 * stood still does what it was told before, long after whoever told it gave up. A use in the future, when that clock was set
 * back, is no recent one.
 */
function consumption({ model, id, now, leewaySeconds }: Places<Use>): SQL {
  return sql`update ${oidcGrants} set consumed_at = coalesce(consumed_at, clock_timestamp())
    where model = ${model} and id = ${id} and (expires_at is null or expires_at > ${now}::timestamptz)
      and (consumed_at is null
        or abs(extract(epoch from clock_timestamp() - consumed_at)) < ${leewaySeconds}::float8)
    returning 1`;
}

function useOf(model: string, id: string, leewaySeconds = 0): Use {
  return { model, id: storedId(model, id), now: new Date().toISOString(), leewaySeconds: leewaySeconds || null };
}

const onlyConsumption = statement<Use>(consumption);

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
  const { rowCount } = await run(db, onlyConsumption, useOf(model, id, options.leewaySeconds));
  return rowCount === 1;
}

const rotation = statement<Columns & { usedId: string; now: string; leewaySeconds: number | null }>(
  (values) => sql`
    with used as (${consumption({ model: values.model, id: values.usedId, now: values.now, leewaySeconds: values.leewaySeconds })})
    ${insertion(values)} from used`,
);

/** `consumeArtifact` of one and the insertion of its successor, both or neither. */
export async function rotateArtifact(
  db: Database,
  encryption: Encryption,
  successor: Artifact,
  usedId: string,
  options: { leewaySeconds?: number } = {},
): Promise<boolean> {
  const { id, model: _, ...use } = useOf(successor.model, usedId, options.leewaySeconds);
  const { rowCount } = await run(db, rotation, { ...columnsOf(rowOf(encryption, successor)), ...use, usedId: id });
  return rowCount === 1;
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
