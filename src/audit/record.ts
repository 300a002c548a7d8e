import type { IncomingHttpHeaders } from 'node:http';
import type { Database } from '../db/database.ts';
import { auditEvents } from '../db/schema.ts';
import { requestId } from '../http/request-log.ts';
import { type AuditEvent, type AuditSource, outcomeOf } from './events.ts';

const maxUserAgentLength = 300;

/** Writes an event; in the transaction of the change when `db` is one. The chain takes it in within seconds (chain.ts). */
export async function record(db: Database, { event, source = {}, details = {}, ...about }: AuditEvent): Promise<void> {
  await db.insert(auditEvents).values({
    event,
    outcome: outcomeOf(event),
    accountId: about.accountId ?? null,
    clientId: about.clientId ?? null,
    sessionUid: about.sessionUid ?? null,
    address: source.address ?? null,
    userAgent: source.userAgent?.slice(0, maxUserAgentLength) ?? null,
    requestId: source.requestId ?? null,
    details: source.operator ? { ...details, by: 'cli', user: source.operator } : details,
  });
}

/** Where a request came from, as far as trusted proxies tell. */
export function auditSource(
  req: { ip?: string | undefined; headers: IncomingHttpHeaders },
  res: Parameters<typeof requestId>[0],
): AuditSource {
  return { address: req.ip, userAgent: req.headers['user-agent'], requestId: requestId(res) };
}
