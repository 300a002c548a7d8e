/**
 * The key ring, one for each algorithm: `next` is published and waits, `current` signs, `retired` verifies what it
 * signed, `revoked` is a record only. Each step is one transaction under one lock for all instances, so what others read
 * between two steps, or find after a crash, is a whole ring.
 */
import { and, eq, lte, max, sql } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { apis, signingKeys } from '../db/schema.ts';
import type { Encryption } from './encryption.ts';
import { after, publishedBeforeUseSeconds, signsForSeconds, verifiesForSeconds } from './key-lifetimes.ts';
import { generateKey, type KeyAlgorithm, type KeyPair, keyAlgorithms, publicPart } from './key-pairs.ts';

export type RingKey = typeof signingKeys.$inferSelect;

/** Why something changed, for the audit log. */
type Cause = {
  reason: 'missing' | 'schedule' | 'operator' | 'revocation';
  source?: AuditSource | undefined;
};

export type Rotation = { alg: KeyAlgorithm; retired: string; signs: string; waits: string };
/** The waiting key has not been published for long enough yet. */
export type TooEarly = { alg: KeyAlgorithm; possibleAt: Date };

export type Revocation = { alg: string; was: RingKey['state']; signs?: string };

/** What a private key is sealed for: a text of one row does not open as another's. */
export const keyPurpose = (kid: string) => `signing-key:${kid}`;

/** All keys, revoked ones too, in an order that does not change by itself; within an algorithm the one that signs is first. */
export async function ringKeys(db: Database): Promise<RingKey[]> {
  const order = ['current', 'next', 'retired', 'revoked'];
  const rank = ({ alg, state }: RingKey) => keyAlgorithms.indexOf(alg as KeyAlgorithm) * 10 + order.indexOf(state);
  const rows = await db.select().from(signingKeys);
  return rows.sort((a, b) => rank(a) - rank(b) || +b.createdAt - +a.createdAt || (a.kid < b.kid ? -1 : 1));
}

export type Lack = { alg: KeyAlgorithm; state: 'current' | 'next' };

/** What the ring should hold for each of `algorithms`, and does not. */
export function lacks(keys: readonly RingKey[], algorithms: readonly KeyAlgorithm[]): Lack[] {
  return algorithms
    .flatMap((alg) => (['current', 'next'] as const).map((state) => ({ alg, state })))
    .filter(({ alg, state }) => !keys.some((key) => key.alg === alg && key.state === state));
}

/** Makes the keys that `wanted` says yes to, of those that are missing. Of instances that start together one makes them. */
export async function fillRing(
  db: Database,
  encryption: Encryption,
  algorithms: readonly KeyAlgorithm[],
  wanted: (lack: Lack) => boolean = () => true,
): Promise<void> {
  await db.transaction(async (tx) => {
    await takeTurn(tx);
    const missing = lacks(await ringKeys(tx), algorithms).filter(wanted);
    for (const { alg, state } of missing)
      await create(tx, encryption, await generateKey(alg), state, { reason: 'missing' });
  });
}

/**
 * The next key of each of `algorithms` takes over, or of none: when one of them has not been published for as long as
 * caches may hold an older JWKS, nothing changes, unless `force` says that clients may fail until their caches expire.
 */
export async function rotateKeys(
  db: Database,
  encryption: Encryption,
  algorithms: readonly KeyAlgorithm[],
  { force = false, source }: { force?: boolean; source?: AuditSource } = {},
): Promise<{ rotated: Rotation[] } | { tooEarly: TooEarly[] }> {
  await fillRing(db, encryption, algorithms);
  return db.transaction(async (tx) => {
    await takeTurn(tx);
    const keys = await ringKeys(tx);
    const tooEarly = algorithms
      .map((alg) => ({ alg, possibleAt: maySignFrom(keyIn(keys, alg, 'next')) }))
      .filter(({ possibleAt }) => !force && possibleAt > new Date());
    if (tooEarly.length > 0) return { tooEarly };
    const rotated: Rotation[] = [];
    for (const alg of algorithms) rotated.push(await rotate(tx, encryption, keys, alg, { reason: 'operator', source }));
    return { rotated };
  });
}

/** From when a key that waits has been published for long enough. */
export function maySignFrom({ createdAt }: RingKey): Date {
  return after(createdAt, publishedBeforeUseSeconds);
}

/** When the successor of a key that signs takes over by itself. */
export function rotatesAt({ activatedAt, createdAt }: RingKey): Date {
  return after(activatedAt ?? createdAt, signsForSeconds);
}

/**
 * What time asks for: missing keys are made, keys that have signed for long enough retire, and keys whose last token has
 * expired are removed. Every instance calls this now and then; while one of them is at it the others leave it alone.
 */
export async function tendRing(
  db: Database,
  encryption: Encryption,
  algorithms: readonly KeyAlgorithm[],
): Promise<void> {
  await db.transaction(async (tx) => {
    if (!(await takeTurnIfFree(tx))) return;
    const missing = lacks(await ringKeys(tx), algorithms);
    for (const { alg, state } of missing)
      await create(tx, encryption, await generateKey(alg), state, { reason: 'missing' });
    const now = new Date();
    const keys = await ringKeys(tx);
    for (const alg of algorithms) {
      const due = rotatesAt(keyIn(keys, alg, 'current')) <= now && maySignFrom(keyIn(keys, alg, 'next')) <= now;
      if (due) await rotate(tx, encryption, keys, alg, { reason: 'schedule' });
    }
    const over = and(eq(signingKeys.state, 'retired'), lte(signingKeys.publishedUntil, now));
    for (const { kid, alg } of await tx.delete(signingKeys).where(over).returning()) {
      await record(tx, { event: 'key.removed', details: { kid, alg, reason: 'expired' } });
    }
  });
}

/**
 * The emergency: a key is published no more and its private part is destroyed. When it was signing the next one takes
 * over in the same moment, however short it has been published. Undefined when there is no such key, or no more.
 */
export async function revokeKey(
  db: Database,
  encryption: Encryption,
  kid: string,
  source?: AuditSource,
): Promise<Revocation | undefined> {
  const cause = { reason: 'revocation', source } as const;
  return db.transaction(async (tx) => {
    await takeTurn(tx);
    const keys = await ringKeys(tx);
    const key = keys.find((one) => one.kid === kid && one.state !== 'revoked');
    if (!key) return undefined;
    const alg = key.alg as KeyAlgorithm;
    const now = new Date();
    const gone = { state: 'revoked', privateJwkEncrypted: null, publishedUntil: now } as const;
    await tx.update(signingKeys).set(gone).where(eq(signingKeys.kid, kid));
    await record(tx, { event: 'key.revoked', source, details: { kid, alg, was: key.state } });
    if (key.state === 'retired') return { alg, was: key.state };
    const waiting = keys.find((one) => one.alg === alg && one.state === 'next');
    if (key.state === 'current') {
      if (waiting) await activate(tx, waiting, cause);
      else await create(tx, encryption, await generateKey(alg), 'current', cause);
    }
    await create(tx, encryption, await generateKey(alg), 'next', cause);
    const signs = keyIn(await ringKeys(tx), alg, 'current').kid;
    return { alg, was: key.state, signs };
  });
}

/**
 * A key from outside becomes the next of its algorithm, in place of the one that waited and never signed. Answers the
 * `kid` of that one, or in which state the key itself already is in the ring.
 */
export async function importKey(
  db: Database,
  encryption: Encryption,
  key: KeyPair,
  source?: AuditSource,
): Promise<{ replaced: string | undefined } | { known: RingKey['state'] }> {
  return db.transaction(async (tx) => {
    await takeTurn(tx);
    const keys = await ringKeys(tx);
    const known = keys.find(({ kid }) => kid === key.kid);
    if (known) return { known: known.state };
    const waited = keys.find(({ alg, state }) => alg === key.alg && state === 'next');
    if (waited) {
      await tx.delete(signingKeys).where(eq(signingKeys.kid, waited.kid));
      await record(tx, {
        event: 'key.removed',
        source,
        details: { kid: waited.kid, alg: key.alg, reason: 'replaced' },
      });
    }
    await insert(tx, encryption, key, 'next');
    await record(tx, { event: 'key.imported', source, details: { kid: key.kid, alg: key.alg } });
    return { replaced: waited?.kid };
  });
}

const ringLock = sql`hashtext('latchkey:signing-keys')`;

/** Waits for whoever changes the keys just now, in any instance; ends with the transaction. */
export async function takeTurn(tx: Database): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(${ringLock})`);
}

async function takeTurnIfFree(tx: Database): Promise<boolean> {
  const { rows } = await tx.execute<{ ours: boolean }>(sql`select pg_try_advisory_xact_lock(${ringLock}) as ours`);
  return rows[0]?.ours === true;
}

function keyIn(keys: readonly RingKey[], alg: KeyAlgorithm, state: Lack['state']): RingKey {
  const key = keys.find((one) => one.alg === alg && one.state === state);
  if (!key) throw new Error(`the key ring has no ${state} key for ${alg}`);
  return key;
}

/** Retire before activating before creating: the table never holds two keys that sign, or two that wait. */
async function rotate(
  tx: Database,
  encryption: Encryption,
  keys: readonly RingKey[],
  alg: KeyAlgorithm,
  cause: Cause,
): Promise<Rotation> {
  const [current, next] = [keyIn(keys, alg, 'current'), keyIn(keys, alg, 'next')];
  const fresh = await generateKey(alg);
  const now = new Date();
  const publishedUntil = after(now, Math.max(verifiesForSeconds, await longestApiTokenSeconds(tx)));
  await tx
    .update(signingKeys)
    .set({ state: 'retired', retiredAt: now, publishedUntil })
    .where(and(eq(signingKeys.kid, current.kid), eq(signingKeys.state, 'current')));
  await record(tx, {
    event: 'key.retired',
    source: cause.source,
    details: { kid: current.kid, alg, reason: cause.reason },
  });
  await activate(tx, next, cause);
  await create(tx, encryption, fresh, 'next', cause);
  return { alg, retired: current.kid, signs: next.kid, waits: fresh.kid };
}

async function longestApiTokenSeconds(tx: Database): Promise<number> {
  const [row] = await tx.select({ longest: max(apis.tokenLifetimeSeconds) }).from(apis);
  return row?.longest ?? 0;
}

async function activate(tx: Database, { kid, alg }: RingKey, { reason, source }: Cause): Promise<void> {
  await tx
    .update(signingKeys)
    .set({ state: 'current', activatedAt: new Date() })
    .where(and(eq(signingKeys.kid, kid), eq(signingKeys.state, 'next')));
  await record(tx, { event: 'key.activated', source, details: { kid, alg, reason } });
}

async function create(
  tx: Database,
  encryption: Encryption,
  key: KeyPair,
  state: Lack['state'],
  { reason, source }: Cause,
): Promise<void> {
  await insert(tx, encryption, key, state);
  await record(tx, { event: 'key.created', source, details: { kid: key.kid, alg: key.alg, state, reason } });
}

async function insert(tx: Database, encryption: Encryption, key: KeyPair, state: Lack['state']): Promise<void> {
  const { kid, alg, privateJwk } = key;
  const now = new Date();
  await tx.insert(signingKeys).values({
    kid,
    alg,
    state,
    publicJwk: publicPart(privateJwk),
    privateJwkEncrypted: encryption.encrypt(JSON.stringify(privateJwk), keyPurpose(kid)),
    createdAt: now,
    ...(state === 'current' && { activatedAt: now }),
  });
}
