import { sql } from 'drizzle-orm';
import { auditEvents } from '../db/schema.ts';
import { sha256 } from '../lib/hash.ts';

/** An event as it is hashed and exported: wire names, the instant with all its digits in UTC, null where there is none. */
export const eventColumns = {
  id: auditEvents.id,
  at: sql<string>`to_char(${auditEvents.at} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
  event: auditEvents.event,
  outcome: auditEvents.outcome,
  account_id: auditEvents.accountId,
  client_id: auditEvents.clientId,
  session_uid: auditEvents.sessionUid,
  address: auditEvents.address,
  user_agent: auditEvents.userAgent,
  request_id: auditEvents.requestId,
  details: auditEvents.details,
  position: auditEvents.position,
};

export type ChainedEvent = {
  id: number;
  at: string;
  event: string;
  outcome: string;
  account_id: string | null;
  client_id: string | null;
  session_uid: string | null;
  address: string | null;
  user_agent: string | null;
  request_id: string | null;
  details: Record<string, unknown>;
  position: number | null;
};

/** SHA-256, base64url, over the hash before it (nothing for the first) and the event in canonical form. */
export function hashOf(previousHash: string, event: ChainedEvent): string {
  return sha256(previousHash + canonicalJson(event));
}

/** RFC 8785: members sorted, no space, numbers as JavaScript writes them. */
function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`).join(',')}}`;
}
