import { and, eq, gt, isNull } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { oidcInteraction } from '../db/schema.ts';
import type { Encryption } from '../keys/encryption.ts';
import { sha256 } from '../lib/hash.ts';
import type { Payload } from './artifacts.ts';
import { findSessionByUid } from './session-store.ts';

const purpose = 'Interaction';
/** Stands for the interaction's own id inside `returnTo`, whose holder could act on it. */
const ownId = '{uid}';
/** Members that name other artefacts by their raw id. */
const sealedMembers = ['deviceCode', 'parJti'] as const;
/** Member of a login's result: the uid of the session that the person was signed in to. The library ignores it. */
export const signedInWith = 'sessionUid';
/** The one parameter of a request that is a token itself. The library copies it into the prompt's details, unused. */
const hint = 'id_token_hint';

/** Stores an interaction without any raw id. `expiresIn` in seconds. */
export async function upsertInteraction(
  db: Database,
  encryption: Encryption,
  id: string,
  payload: Payload,
  expiresIn: number,
): Promise<void> {
  const { jti, ...rest } = payload;
  const stored: Payload = { ...rest };
  if (typeof rest.returnTo === 'string') stored.returnTo = rest.returnTo.replaceAll(id, ownId);
  if (rest.session) {
    const { cookie, ...session } = rest.session as Payload;
    stored.session = session;
  }
  for (const member of sealedMembers) {
    if (typeof rest[member] === 'string') stored[member] = encryption.encrypt(rest[member], purpose);
  }
  if (hintOf(rest) !== undefined) {
    stored.params = { ...(rest.params as Payload), [hint]: encryption.encrypt(hintOf(rest) ?? '', purpose) };
    stored.prompt = { ...(rest.prompt as Payload), details: {} };
  }
  const session = stored.session as { accountId?: string } | undefined;
  const params = stored.params as { client_id?: unknown } | undefined;
  const columns = {
    payload: stored,
    clientId: typeof params?.client_id === 'string' ? params.client_id : null,
    accountId: session?.accountId ?? null,
    expiresAt: new Date(Date.now() + expiresIn * 1000),
  };
  await db
    .insert(oidcInteraction)
    .values({ id: sha256(id), ...columns })
    .onConflictDoUpdate({
      target: oidcInteraction.id,
      set: columns,
      // A late write must not bring a finished interaction back.
      setWhere: isNull(oidcInteraction.finishedAt),
    });
}

/**
 * A pending interaction; finished and expired ones are absent, and so is one in which the person has signed in to a
 * session that ended since: resuming it would sign in again whoever holds its cookie, without a password (SECURITY 33).
 */
export async function findInteraction(db: Database, encryption: Encryption, id: string): Promise<Payload | undefined> {
  const [row] = await db
    .select({ payload: oidcInteraction.payload })
    .from(oidcInteraction)
    .where(
      and(
        eq(oidcInteraction.id, sha256(id)),
        gt(oidcInteraction.expiresAt, new Date()),
        isNull(oidcInteraction.finishedAt),
      ),
    );
  if (!row) return undefined;
  const login = (row.payload.result as { login?: Payload } | undefined)?.login;
  const sessionUid = login?.[signedInWith];
  if (typeof sessionUid === 'string' && !(await findSessionByUid(db, undefined, sessionUid))) return undefined;
  const payload: Payload = { ...row.payload, jti: id };
  if (typeof payload.returnTo === 'string') payload.returnTo = payload.returnTo.replaceAll(ownId, id);
  for (const member of sealedMembers) {
    if (typeof payload[member] === 'string') payload[member] = encryption.decrypt(payload[member], purpose);
  }
  const sealedHint = hintOf(payload);
  if (sealedHint === undefined) return payload;
  return { ...payload, params: { ...(payload.params as Payload), [hint]: encryption.decrypt(sealedHint, purpose) } };
}

function hintOf(payload: Payload): string | undefined {
  const value = (payload.params as Payload | undefined)?.[hint];
  return typeof value === 'string' ? value : undefined;
}

/** Marks an interaction as finished. It stays readable as the past until it is swept. */
export async function finishInteraction(db: Database, id: string): Promise<void> {
  await db
    .update(oidcInteraction)
    .set({ finishedAt: new Date() })
    .where(eq(oidcInteraction.id, sha256(id)));
}

export type PastInteraction = {
  state: 'pending' | 'finished' | 'expired';
  clientId: string | undefined;
  /** The authorization request's parameters, from which it can be made again. */
  params: Record<string, string>;
  prompt: string | undefined;
  /** Asked for by a device, pushed by the client, or with a token in it: a browser cannot make it again. */
  notByBrowser: boolean;
  /** Asked for by a device, whose code leads here. */
  byDevice: boolean;
};

/** What is known of an interaction that this browser cannot act on, to offer a way on. */
export async function findPastInteraction(db: Database, id: string): Promise<PastInteraction | undefined> {
  const [row] = await db
    .select()
    .from(oidcInteraction)
    .where(eq(oidcInteraction.id, sha256(id)));
  if (!row) return undefined;
  const params = Object.entries((row.payload.params as Payload | undefined) ?? {});
  const prompt = (row.payload.prompt as { name?: string } | undefined)?.name;
  return {
    state: row.finishedAt ? 'finished' : row.expiresAt <= new Date() ? 'expired' : 'pending',
    clientId: row.clientId ?? undefined,
    params: Object.fromEntries(params.filter((entry): entry is [string, string] => typeof entry[1] === 'string')),
    prompt,
    notByBrowser:
      hintOf(row.payload) !== undefined || sealedMembers.some((member) => row.payload[member] !== undefined),
    byDevice: row.payload.deviceCode !== undefined,
  };
}
