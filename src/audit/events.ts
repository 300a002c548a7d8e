/**
 * The audit log: what happened to accounts, clients, tokens and keys, who asked for it and from where. Events are a
 * closed list and are written in the transaction of the change they tell of. Nothing here decides anything.
 */

/** Everything that is recorded, as noun and past participle. */
export const auditEventNames = [
  'client.registered',
  'client.updated',
  'client.deleted',
  'client.secret-rotated',
  'initial-access-token.created',
  'initial-access-token.revoked',
  'api.created',
  'api.updated',
  'api.deleted',
  'api.access-changed',
  'authorization-details-type.created',
  'authorization-details-type.deleted',
  'token-exchange.permitted',
  'token-exchange.forbidden',
  'token.exchanged',
  'token.exchange-refused',
  'refresh-token.reused',
  'device.approved',
  'device.denied',
  'key.created',
  'key.activated',
  'key.retired',
  'key.removed',
  'key.revoked',
  'key.imported',
  'keys.re-encrypted',
  'sessions.ended',
  'logout.delivered',
  'logout.given-up',
] as const;

export type AuditEventName = (typeof auditEventNames)[number];

/** Where a request came from; absent for what the server or its operator's command line does by itself. */
export type AuditSource = {
  address?: string | undefined;
  userAgent?: string | undefined;
  requestId?: string | undefined;
};

export type AuditEvent = {
  event: AuditEventName;
  accountId?: string | undefined;
  clientId?: string | undefined;
  sessionUid?: string | undefined;
  source?: AuditSource | undefined;
  /** Further facts with snake_case names; never a secret, a token or a password. */
  details?: Record<string, unknown>;
};
