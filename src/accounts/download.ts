/**
 * Everything that is stored about a person, for the person to keep. Names of what they have, never what proves it: no
 * hash, no secret, no token.
 */
import { desc, eq } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { auditEvents, consents, passkeys, rememberedDevices } from '../db/schema.ts';
import type { AccountSessions } from './account-sessions.ts';
import type { Account } from './accounts.ts';
import { accountClaims } from './claims.ts';
import { findSignInMethods } from './sign-in-methods.ts';

/** The newest so many events; nobody makes more by hand. */
const mostEvents = 10_000;

/** Records that it was asked for, and gathers it. Times are ISO 8601, names are those of OIDC where it has any. */
export async function gatherData(
  { db, accountSessions }: { db: Database; accountSessions: Pick<AccountSessions, 'list'> },
  account: Account,
  source: AuditSource,
): Promise<Record<string, unknown>> {
  const { id } = account;
  await record(db, { event: 'account.exported', accountId: id, source });
  const [methods, sessions, keys, devices, allowed, events] = await Promise.all([
    findSignInMethods(db, id),
    accountSessions.list(id),
    db.select().from(passkeys).where(eq(passkeys.accountId, id)),
    db.select().from(rememberedDevices).where(eq(rememberedDevices.accountId, id)),
    db.select().from(consents).where(eq(consents.accountId, id)),
    db.select().from(auditEvents).where(eq(auditEvents.accountId, id)).orderBy(desc(auditEvents.id)).limit(mostEvents),
  ]);
  return {
    exported_at: new Date(),
    profile: { ...accountClaims(account), created_at: account.createdAt },
    sign_in: {
      password: methods.password,
      password_changed_at: methods.passwordChangedAt ?? null,
      two_step_since: methods.twoStepSince ?? null,
      recovery_codes_left: methods.recoveryCodesLeft,
      passkeys: keys.map(({ name, deviceType, backedUp, createdAt, lastUsedAt }) => ({
        name,
        kind: deviceType === 'multiDevice' ? 'synced' : 'one device',
        backed_up: backedUp,
        created_at: createdAt,
        last_used_at: lastUsedAt,
      })),
      remembered_browsers: devices.map(({ userAgent, address, createdAt, expiresAt }) => ({
        user_agent: userAgent,
        address,
        created_at: createdAt,
        expires_at: expiresAt,
      })),
    },
    sessions: sessions.map(({ userAgent, address, signedInAt, lastSeenAt }) => ({
      user_agent: userAgent ?? null,
      address: address ?? null,
      signed_in_at: signedInAt,
      last_seen_at: lastSeenAt,
    })),
    connected_apps: allowed.map((consent) => ({
      client_id: consent.clientId,
      since: consent.createdAt,
      changed_at: consent.updatedAt,
      granted: {
        scopes: consent.grantedScopes,
        claims: consent.grantedClaims,
        apis: consent.grantedApiScopes,
      },
      refused: {
        scopes: consent.refusedScopes,
        claims: consent.refusedClaims,
        apis: consent.refusedApiScopes,
      },
    })),
    activity: events.map(({ at, event, outcome, clientId, address, userAgent, details }) => ({
      at,
      event,
      outcome,
      ...(clientId !== null && { client_id: clientId }),
      address,
      user_agent: userAgent,
      details,
    })),
  };
}
