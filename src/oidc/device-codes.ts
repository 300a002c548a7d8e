/**
 * Device codes (RFC 8628) in storage. A code is decided once: of an approval and a denial, or of two people at once, the
 * first to be stored stands. Until then it may be typed again, in whichever browser, so that a lost page costs nobody
 * the code. Expired codes stay readable for whoever polls with them (§3.5 `expired_token`).
 */
import { and, eq, gt, isNull, type SQL, sql } from 'drizzle-orm';
import { errors, Provider } from 'oidc-provider';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { oidcGrants } from '../db/schema.ts';
import type { Encryption } from '../keys/encryption.ts';
import { type Payload, storedId, upsertArtifact } from './artifacts.ts';
import { requestSource } from './request-source.ts';
import { requireLiveSession } from './session-store.ts';

const model = 'DeviceCode';

/** The library's own error of this name cannot be made from outside; whoever shows it looks at the name. */
class AlreadyUsedError extends errors.InvalidRequest {
  constructor() {
    super('the code was used already');
    this.name = 'AlreadyUsedError';
  }
}

export function deviceCodeStore({ db, encryption }: { db: Database; encryption: Encryption }) {
  const findOne = async (where: SQL) => {
    const [row] = await db
      .select()
      .from(oidcGrants)
      .where(and(eq(oidcGrants.model, model), where));
    return row;
  };
  const open = ({ payload, consumedAt }: typeof oidcGrants.$inferSelect): Payload => ({
    ...payload,
    ...(consumedAt && { consumed: Math.floor(consumedAt.getTime() / 1000) }),
  });

  return {
    async upsert(id: string, payload: Payload, expiresIn?: number): Promise<void> {
      if (isDecision(payload)) return decide(db, id, payload);
      if (payload.inFlight) return;
      await upsertArtifact(db, encryption, { model, id, payload: withoutHint(payload), expiresIn });
    },

    async find(id: string): Promise<Payload | undefined> {
      const row = await findOne(eq(oidcGrants.id, storedId(model, id)));
      return row && { ...open(row), jti: id };
    },

    /** By the code that a person typed; the code's own id is opened from its encrypted copy. */
    async findByUserCode(userCode: string): Promise<Payload | undefined> {
      const row = await findOne(eq(oidcGrants.userCode, userCode));
      return row?.idEncrypted ? { ...open(row), jti: encryption.decrypt(row.idEncrypted, model) } : undefined;
    },
  };
}

/** What came of a code, and the session in which it was allowed. */
export type Decision = {
  outcome: 'approved' | 'denied';
  clientId: string | undefined;
  sessionUid: string | undefined;
};

/** What was decided about the code that a person typed; undefined while nothing is, or when there is no such code. */
export async function findDecision(db: Database, userCode: string): Promise<Decision | undefined> {
  const [row] = await db
    .select({ payload: oidcGrants.payload })
    .from(oidcGrants)
    .where(and(eq(oidcGrants.model, model), eq(oidcGrants.userCode, userCode)));
  return row && decisionOf(row.payload);
}

export function decisionOf(code: object): Decision | undefined {
  if (!isDecision(code)) return undefined;
  const { error, clientId, sessionUid } = code as { error?: string; clientId?: string; sessionUid?: string };
  return { outcome: error === undefined ? 'approved' : 'denied', clientId, sessionUid };
}

function isDecision({ accountId, error }: { accountId?: unknown; error?: unknown }): boolean {
  return accountId !== undefined || error !== undefined;
}

/** Faults of a browser or of ours, which the library would end the code with: the person may try again instead. */
const notTheDevices = new Set(['invalid_request', 'server_error']);

async function decide(db: Database, id: string, payload: Payload): Promise<void> {
  const { jti, consumed, inFlight, ...decided } = payload;
  if (notTheDevices.has(String(decided.error))) return;
  await db.transaction(async (tx) => {
    const { accountId, grantId, sessionUid } = decided as { accountId?: string; grantId?: string; sessionUid?: string };
    if (sessionUid !== undefined) await requireLiveSession(tx, sessionUid);
    const first = await tx
      .update(oidcGrants)
      .set({ payload: decided, accountId: accountId ?? null, grantId: grantId ?? null })
      .where(
        and(
          eq(oidcGrants.model, model),
          eq(oidcGrants.id, storedId(model, id)),
          gt(oidcGrants.expiresAt, new Date()),
          isNull(oidcGrants.accountId),
          sql`${oidcGrants.payload} -> 'error' is null`,
        ),
      )
      .returning({ clientId: oidcGrants.clientId });
    if (first.length === 0) throw new AlreadyUsedError();
    await recordDecision(tx, decided, first[0]?.clientId);
  });
}

async function recordDecision(db: Database, decided: Payload, clientId: string | null | undefined): Promise<void> {
  const { accountId, error, scope } = decided as { accountId?: string; error?: string; scope?: string };
  if (error !== undefined && error !== 'access_denied') return;
  const { ctx } = Provider;
  await record(db, {
    event: error === undefined ? 'device.approved' : 'device.denied',
    accountId: accountId ?? ctx?.oidc.session?.accountId,
    clientId: clientId ?? undefined,
    sessionUid: ctx?.oidc.session?.uid,
    source: ctx && requestSource(ctx),
    details: { ...(scope !== undefined && { scope }) },
  });
}

/** The one parameter of a request that is a token itself. The library has looked at it and does not need it again. */
function withoutHint(payload: Payload): Payload {
  const { id_token_hint, ...params } = (payload.params ?? {}) as Payload;
  return id_token_hint === undefined ? payload : { ...payload, params };
}
