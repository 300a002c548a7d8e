import { asc, count, gt, isNotNull, isNull, lte, min } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { auditEvents } from '../db/schema.ts';
import { eventColumns, hashOf } from './canonical.ts';
import { type Chain, isSealed, readChain } from './chain.ts';

/** A place in the chain and its hash: kept elsewhere, it shows later that nothing up to there was rewritten. */
export type Place = { position: number; hash: string };

export type Verification = {
  /** The place before the first event that is checked: 0, or what retention removed last. */
  begin: number;
  /** Events whose link is good. */
  checked: number;
  /** Events that wait to be taken in, and since when: for seconds, where a server runs. */
  waiting: { count: number; since: Date | undefined };
  /** Events from before the chain was restarted, which nothing vouches for. */
  uncovered: number;
  head: Place | undefined;
  /** The first thing that is wrong. */
  broken: Break | undefined;
};

export type Break = {
  reason: /** There are chained events, and no end. */
    | 'end-missing'
    /** Someone without the secret wrote the end: all links were perhaps made anew. */
    | 'end-changed'
    | 'event-missing'
    /** This event, or the hash of the one before it. */
    | 'event-changed'
    /** It stands behind the end. */
    | 'event-added'
    /** The hash that was kept elsewhere is not the one here. */
    | 'not-as-expected';
  position?: number;
};

const batch = 1000;

/**
 * Walks the whole chain as it is at this moment, some events at a time.
 * @param expected a place that was written down earlier; before the chain's beginning it cannot be judged
 */
export async function verifyChain(db: Database, key: string, expected?: Place): Promise<Verification> {
  const snapshot = { isolationLevel: 'repeatable read', accessMode: 'read only' } as const;
  return db.transaction(async (tx) => {
    const chain = await readChain(tx);
    const found = { begin: chain?.anchorPosition ?? 0, waiting: await findWaiting(tx) };
    if (!chain) {
      const chained = await tx.$count(auditEvents, isNotNull(auditEvents.position));
      const broken: Break | undefined = chained > 0 ? { reason: 'end-missing' } : undefined;
      return { ...found, checked: 0, uncovered: chained, head: undefined, broken };
    }
    const { checked, broken } = await walkChain(tx, chain, expected);
    return {
      ...found,
      checked,
      uncovered: await tx.$count(auditEvents, lte(auditEvents.position, chain.anchorPosition)),
      head: { position: chain.headPosition, hash: chain.headHash },
      broken: broken ?? (isSealed(chain, key) ? undefined : { reason: 'end-changed' }),
    };
  }, snapshot);
}

async function walkChain(
  tx: Database,
  chain: Chain,
  expected: Place | undefined,
): Promise<{ checked: number; broken?: Break }> {
  let { anchorPosition: position, anchorHash: hash } = chain;
  let checked = 0;
  const broken = (reason: Break['reason'], at = position) => ({ checked, broken: { reason, position: at } });
  const isOther = () => expected?.position === position && expected.hash !== hash;

  if (isOther()) return broken('not-as-expected');
  for await (const { hash: storedHash, ...event } of eventsBehind(tx, position)) {
    const next = position + 1;
    if (position === chain.headPosition) return broken('event-added', event.position ?? next);
    if (event.position !== next) return broken('event-missing', next);
    if (hashOf(hash, event) !== storedHash) return broken('event-changed', next);
    [position, hash] = [next, storedHash];
    checked += 1;
    if (isOther()) return broken('not-as-expected');
  }
  if (position < chain.headPosition) return broken('event-missing', position + 1);
  if (hash !== chain.headHash) return broken('end-changed');
  return expected && expected.position > position ? broken('not-as-expected') : { checked };
}

async function* eventsBehind(tx: Database, position: number) {
  for (let last = position; ; ) {
    const events = await tx
      .select({ ...eventColumns, hash: auditEvents.hash })
      .from(auditEvents)
      .where(gt(auditEvents.position, last))
      .orderBy(asc(auditEvents.position))
      .limit(batch);
    yield* events;
    if (events.length < batch) return;
    last = events.at(-1)?.position ?? last;
  }
}

async function findWaiting(tx: Database): Promise<Verification['waiting']> {
  const [row] = await tx
    .select({ count: count(), since: min(auditEvents.at) })
    .from(auditEvents)
    .where(isNull(auditEvents.position));
  return { count: row?.count ?? 0, since: row?.since ?? undefined };
}
