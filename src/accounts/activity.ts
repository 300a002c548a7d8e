/** What happened to an account of late, for its own person: the audit log in plain words. */
import { and, desc, eq, gte, inArray, lt } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { auditEvents } from '../db/schema.ts';
import type { Pages } from '../http/views.ts';
import { describeUserAgent } from '../lib/user-agent.ts';
import { activityWords } from './activity-words.ts';

/** How far back people look, in days; the operator may see further. */
export const activityDays = 90;

const perPage = 50;
const told = Object.entries(activityWords).flatMap(([event, words]) => (words ? [event] : []));

export type Event = Readonly<typeof auditEvents.$inferSelect>;

/** Events of an account that people are told of, newest first, beginning behind the one whose id is `before`. */
export async function listActivity(
  db: Database,
  accountId: string,
  { before, limit = perPage }: { before?: number | undefined; limit?: number } = {},
): Promise<{ events: Event[]; older: number | undefined }> {
  const since = new Date(Date.now() - activityDays * 24 * 60 * 60 * 1000);
  const rows = await db
    .select()
    .from(auditEvents)
    .where(
      and(
        eq(auditEvents.accountId, accountId),
        inArray(auditEvents.event, told),
        gte(auditEvents.at, since),
        before === undefined ? undefined : lt(auditEvents.id, before),
      ),
    )
    .orderBy(desc(auditEvents.id))
    .limit(limit + 1);
  const events = rows.slice(0, limit);
  return { events, older: rows.length > limit ? events.at(-1)?.id : undefined };
}

/** The same by day, in words. `appNames` has a name for each client that is known. */
export function describeActivity(
  events: readonly Event[],
  appNames: ReadonlyMap<string, string>,
): Pages['account-activity']['days'] {
  const byDay = Map.groupBy(events, ({ at }) => at.toISOString().slice(0, 10));
  return [...byDay].map(([day, entries]) => ({
    day: new Date(`${day}T00:00:00Z`),
    entries: entries.map(({ at, event, clientId, details, userAgent, address, outcome }) => {
      const app = clientId === null ? '' : (appNames.get(clientId) ?? clientId);
      return {
        at,
        text: activityWords[event as keyof typeof activityWords]?.({ app, details }) ?? event,
        device: userAgent === null ? undefined : describeUserAgent(userAgent).words,
        address: address ?? undefined,
        failed: outcome === 'failure',
      };
    }),
  }));
}
