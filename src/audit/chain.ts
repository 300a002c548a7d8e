/**
 * The chain: each event has a place and a hash over the hash before it and over itself, and the end is sealed with a secret
 * that is not readable in the database. Who changes, removes or adds events behind our back breaks a link; who mends all
 * links after it cannot mend the seal.
 *
 * Events are written without a place, so that no business transaction waits for another, and are taken in here some
 * seconds later, once they are committed. Places follow the order of taking in, which ids do not quite.
 */
import { createHmac } from 'node:crypto';
import { desc, isNotNull, isNull, sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { auditChain, auditEvents } from '../db/schema.ts';
import { equalInConstantTime } from '../lib/hash.ts';
import { eventColumns, hashOf } from './canonical.ts';
import type { AuditSource } from './events.ts';
import { record } from './record.ts';

/** What keeps the chain from growing until somebody has looked: the message is for the operator. */
export class AuditChainError extends Error {
  override name = 'AuditChainError';
}

export type Chain = Omit<typeof auditChain.$inferSelect, 'name' | 'seal'>;

const batch = 500;
const beginning: Chain = { anchorPosition: 0, anchorHash: '', headPosition: 0, headHash: '' };

/** What is told of an event that was taken in. */
export type TakenIn = { event: string; outcome: string; details: Record<string, unknown> };

/**
 * Gives every committed event that has none its place. Answers how many; 0 also while another instance is at it.
 * @param key the secret of the seal
 * @param onTakenIn is told of every event once: no two instances take in the same
 * @throws {AuditChainError}
 */
export async function chainEvents(
  db: Database,
  key: string,
  onTakenIn: (events: readonly TakenIn[]) => void = () => {},
): Promise<number> {
  for (let chained = 0; ; ) {
    const more = await chainBatch(db, key);
    onTakenIn(more);
    chained += more.length;
    if (more.length < batch) return chained;
  }
}

async function chainBatch(db: Database, key: string): Promise<TakenIn[]> {
  const unchained = () => db.select({ id: auditEvents.id }).from(auditEvents).where(isNull(auditEvents.position));
  if ((await unchained().limit(1)).length === 0) return [];
  return db.transaction(async (tx) => {
    const chain = await lockChain(tx, key);
    if (!chain) return [];
    const events = await tx
      .select(eventColumns)
      .from(auditEvents)
      .where(isNull(auditEvents.position))
      .orderBy(auditEvents.id)
      .limit(batch);
    let { headPosition: position, headHash: hash } = chain;
    const links = events.map((event) => {
      position += 1;
      hash = hashOf(hash, { ...event, position });
      return { id: event.id, position, hash };
    });
    await announce(tx, 'chain');
    await tx.execute(sql`
      update ${auditEvents} event set position = link.position, hash = link.hash
      from jsonb_to_recordset(${JSON.stringify(links)}::jsonb) as link(id bigint, position bigint, hash text)
      where event.id = link.id`);
    await saveChain(tx, key, { ...chain, headPosition: position, headHash: hash });
    return events;
  });
}

/** Tells the trigger of the table what this transaction does (the migration has it). */
export function announce(tx: Database, job: 'chain' | 'retention'): Promise<unknown> {
  return tx.execute(sql`select set_config('latchkey.audit', ${job}, true)`);
}

/**
 * The chain, held until the transaction ends; undefined when another holds it. Nothing is ever put behind an end that was
 * tampered with, since that would seal it.
 * @throws {AuditChainError}
 */
export async function lockChain(tx: Database, key: string): Promise<Chain | undefined> {
  const [held] = await tx.select().from(auditChain).for('update', { skipLocked: true });
  if (held) {
    if (isSealed(held, key)) return held;
    throw new AuditChainError('The end of the audit chain was changed from outside: run `audit verify`.');
  }
  if ((await readChain(tx)) !== undefined) return undefined;
  if (await hasChained(tx)) throw new AuditChainError('The end of the audit chain is gone: run `audit verify`.');
  const added = await tx
    .insert(auditChain)
    .values({ name: 'events', ...beginning, seal: sealOf(beginning, key) })
    .onConflictDoNothing()
    .returning();
  return added[0];
}

export async function readChain(db: Database): Promise<typeof auditChain.$inferSelect | undefined> {
  const [chain] = await db.select().from(auditChain);
  return chain;
}

export async function saveChain(tx: Database, key: string, chain: Chain): Promise<void> {
  const row = { ...chain, seal: sealOf(chain, key) };
  await tx
    .insert(auditChain)
    .values({ ...row, name: 'events' })
    .onConflictDoUpdate({ target: auditChain.name, set: row });
}

/**
 * Begins anew behind the last event, for an operator who has seen that the chain is broken. What lies before is kept and
 * is not checked any more.
 */
export async function restartChain(db: Database, key: string, source?: AuditSource): Promise<Chain> {
  return db.transaction(async (tx) => {
    await tx.execute(sql`lock table ${auditChain} in exclusive mode`);
    const [last] = await tx
      .select({ position: auditEvents.position, hash: auditEvents.hash })
      .from(auditEvents)
      .where(isNotNull(auditEvents.position))
      .orderBy(desc(auditEvents.position))
      .limit(1);
    const position = last?.position ?? 0;
    const hash = last?.hash ?? '';
    const chain = { anchorPosition: position, anchorHash: hash, headPosition: position, headHash: hash };
    await saveChain(tx, key, chain);
    await record(tx, { event: 'audit-log.restarted', source, details: { position } });
    return chain;
  });
}

async function hasChained(tx: Database): Promise<boolean> {
  return (
    (await tx.select({ id: auditEvents.id }).from(auditEvents).where(isNotNull(auditEvents.position)).limit(1)).length >
    0
  );
}

export function isSealed(chain: Chain & { seal: string }, key: string): boolean {
  return equalInConstantTime(chain.seal, sealOf(chain, key));
}

function sealOf({ anchorPosition, anchorHash, headPosition, headHash }: Chain, key: string): string {
  const facts = JSON.stringify([anchorPosition, anchorHash, headPosition, headHash]);
  return createHmac('sha256', key).update(facts).digest('base64url');
}
