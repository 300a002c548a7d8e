/** Finding what artifacts.ts stores. */
import { sql } from 'drizzle-orm';
import { accountOfJson, activeAccountJson } from '../accounts/joined-account.ts';
import type { Database } from '../db/database.ts';
import { oidcGrants, oidcSessions } from '../db/schema.ts';
import { run, statement } from '../db/statement.ts';
import { type Payload, storedId } from './artifacts.ts';
import { originLives } from './derived-grants.ts';
import { type Known, take } from './request-memo.ts';

/** `usedFor`: seconds since it was used up, by the database's clock. */
export type FoundArtifact = { model: string; payload: Payload; usedFor: number | null };

type Standing = {
  grantId: string | null;
  accountId: string | null;
  grant: Payload | null;
  account: Record<string, unknown> | null;
  /** `uid` of the session that it ends with. */
  sessionUid: string | null;
  session: Payload | null;
};

/** One whose id is asked for may be of any of them: at introspection, revocation and exchange nobody knows which. */
const tokens = ['AccessToken', 'ClientCredentials', 'RefreshToken'];

const artifactsById = statement<{ models: readonly string[]; id: string; now: string }, FoundArtifact & Standing>(
  ({ models, id, now }) => sql`
    select its.model, its.payload, extract(epoch from clock_timestamp() - its.consumed_at)::float8 as "usedFor",
      its.grant_id as "grantId", its.account_id as "accountId",
      (select "grant".payload from ${oidcGrants} "grant"
        where "grant".model = 'Grant' and "grant".id = its.grant_id
          and ("grant".expires_at is null or "grant".expires_at > ${now}::timestamptz)
          and ${originLives(now)}) as "grant",
      ${activeAccountJson(sql`its.account_id`)} as account,
      case when its.payload ->> 'expiresWithSession' = 'true' then its.payload ->> 'sessionUid' end as "sessionUid",
      case when its.payload ->> 'expiresWithSession' = 'true' then
        (select session.payload from ${oidcSessions} session where session.uid = its.payload ->> 'sessionUid'
          and session.expires_at > ${now}::timestamptz and session.ended_at is null) end as session
    from ${oidcGrants} its
    where its.model = any (${models}::text[]) and its.id = ${id}
      and (its.expires_at is null or its.expires_at > ${now}::timestamptz)`,
);

/** An artefact by its id, `jti` put back; expired is absent. Within the leeway one that was used looks fresh. */
export async function findArtifact(
  db: Database,
  known: Known | undefined,
  model: string,
  id: string,
  leewaySeconds = 0,
): Promise<Payload | undefined> {
  const found = await (known?.artifacts.get(id) ?? lookUp(db, known, model, id));
  const artifact = found.find((one) => one.model === model);
  return artifact && { ...withConsumed(artifact, leewaySeconds), jti: id };
}

function lookUp(db: Database, known: Known | undefined, model: string, id: string): Promise<FoundArtifact[]> {
  const models = known && tokens.includes(model) ? tokens : [model];
  const found = findAll(db, known, models, storedId(model, id));
  // Only for those who ask while it is under way: the library asks for every model at once.
  if (models === tokens) {
    known?.artifacts.set(id, found);
    const done = () => known?.artifacts.delete(id);
    found.then(done, done);
  }
  return found;
}

async function findAll(db: Database, known: Known | undefined, models: readonly string[], id: string) {
  const { rows } = await run(db, artifactsById, { models, id, now: new Date().toISOString() });
  for (const { grantId, accountId, sessionUid, grant, account, session } of known ? rows : []) {
    if (grantId) known?.grants.set(grantId, grant ?? undefined);
    if (accountId) known?.accounts.set(accountId, account ? accountOfJson(account) : undefined);
    if (sessionUid) known?.sessions.set(sessionUid, session ?? undefined);
  }
  return rows;
}

/** A refresh whose answer was lost may be repeated. */
function withConsumed({ payload, usedFor }: FoundArtifact, leewaySeconds: number): Payload {
  if (usedFor === null || Math.abs(usedFor) < leewaySeconds) return payload;
  return { ...payload, consumed: Math.floor(Date.now() / 1000 - usedFor) };
}

const grantById = statement<
  { id: string; now: string },
  { payload: Payload; accountId: string | null; account: Record<string, unknown> | null }
>(
  ({ id, now }) => sql`
    select "grant".payload, "grant".account_id as "accountId", ${activeAccountJson(sql`"grant".account_id`)} as account
    from ${oidcGrants} "grant"
    where "grant".model = 'Grant' and "grant".id = ${id}
      and ("grant".expires_at is null or "grant".expires_at > ${now}::timestamptz) and ${originLives(now)}`,
);

/** A grant, and with it what is to be known of its account. One that was derived is there as long as its origin is. */
export async function findGrant(db: Database, known: Known | undefined, id: string): Promise<Payload | undefined> {
  const payload = await take(known?.grants, id, async () => {
    const { rows } = await run(db, grantById, { id, now: new Date().toISOString() });
    const [grant] = rows;
    if (grant?.accountId && known)
      known.accounts.set(grant.accountId, grant.account ? accountOfJson(grant.account) : undefined);
    return grant?.payload;
  });
  return payload && { ...payload, jti: id };
}
