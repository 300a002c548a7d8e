import { and, asc, desc, eq, gt, gte, isNotNull, isNull, like, lt, or, type SQL } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { auditEvents } from '../db/schema.ts';
import { type ChainedEvent, eventColumns } from './canonical.ts';
import type { Outcome } from './events.ts';

export type Search = {
  accountId?: string | undefined;
  clientId?: string | undefined;
  /** The name of an event, or what stands before its dot: `login` for `login.succeeded` and its like. */
  event?: string | undefined;
  since?: Date | undefined;
  until?: Date | undefined;
  outcome?: Outcome | undefined;
};

export type ExportedEvent = ChainedEvent & { hash: string | null };

const columns = { ...eventColumns, hash: auditEvents.hash };
const batch = 1000;

/** The newest first, `limit` of them. */
export function findEvents(db: Database, search: Search, limit: number): Promise<ExportedEvent[]> {
  return db.select(columns).from(auditEvents).where(matching(search)).orderBy(desc(auditEvents.id)).limit(limit);
}

/** In the order of the chain, then what waits to be taken in; read some at a time. */
export async function* exportEvents(db: Database, search: Search): AsyncGenerator<ExportedEvent> {
  const { position, id } = auditEvents;
  yield* each((last) => and(matching(search), isNotNull(position), last && gt(position, last.position ?? 0)), position);
  yield* each((last) => and(matching(search), isNull(position), last && gt(id, last.id)), id);

  async function* each(
    where: (last: ExportedEvent | undefined) => SQL | undefined,
    order: typeof position | typeof id,
  ) {
    for (let last: ExportedEvent | undefined; ; ) {
      const events = await db.select(columns).from(auditEvents).where(where(last)).orderBy(asc(order)).limit(batch);
      yield* events;
      if (events.length < batch) return;
      last = events.at(-1);
    }
  }
}

function matching({ accountId, clientId, event, since, until, outcome }: Search): SQL | undefined {
  return and(
    accountId === undefined ? undefined : eq(auditEvents.accountId, accountId),
    clientId === undefined ? undefined : eq(auditEvents.clientId, clientId),
    event === undefined ? undefined : or(eq(auditEvents.event, event), like(auditEvents.event, `${event}.%`)),
    outcome === undefined ? undefined : eq(auditEvents.outcome, outcome),
    since && gte(auditEvents.at, since),
    until && lt(auditEvents.at, until),
  );
}
