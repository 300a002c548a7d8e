/**
 * Refresh tokens: whether one is rotated, how long it lives, and what becomes of its family when one that was rotated
 * comes back. That a token is used once is decided in SQL (artifacts.ts), and that a reuse is one by the library.
 */
import { type Client, errors, type KoaContextWithOIDC, Provider, type RefreshToken } from 'oidc-provider';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { deleteGrants, storedId } from './artifacts.ts';
import type { Known, RequestMemo } from './request-memo.ts';
import { requestSource } from './request-source.ts';
import { endReusedCode } from './reused-codes.ts';

const day = 24 * 60 * 60;

/** A refresh token ends when unused for this long, … */
export const refreshIdleSeconds = 30 * day;
/** … and its whole family this long after its first (SECURITY 20). */
export const refreshAbsoluteSeconds = 180 * day;

/**
 * RFC 9700 §2.2.2: tokens of public clients are rotated on every use. A confidential client's are too, unless its
 * metadata say `rotate_refresh_token: false`; FAPI 2.0 §5.3.2.1 wants them never rotated.
 */
function isRotated(client: Client): boolean {
  if (client.clientAuthMethod === 'none') return true;
  return client.fapi_profile === undefined && client.rotate_refresh_token !== false;
}

export function rotateRefreshToken(ctx: KoaContextWithOIDC): boolean {
  return isRotated(ctx.oidc.client as Client);
}

/** Throws for a value of `rotate_refresh_token` that the client may not have. */
export function checkRotation(value: unknown, metadata: Record<string, unknown>): void {
  if (value === undefined || value === true) return;
  if (value !== false) throw new errors.InvalidClientMetadata('rotate_refresh_token must be a boolean');
  if (metadata.token_endpoint_auth_method === 'none') {
    throw new errors.InvalidClientMetadata('rotate_refresh_token must not be false for a public client');
  }
}

/** Seconds that a new refresh token lives. One that is not rotated is never seen anew: only the absolute end holds. */
export function refreshTokenTtl(_ctx: unknown, token: RefreshToken, client: Client): number {
  const left = (token.iiat ?? 0) + refreshAbsoluteSeconds - Math.floor(Date.now() / 1000);
  return Math.max(1, isRotated(client) ? Math.min(refreshIdleSeconds, left) : left);
}

/** The leeway for the request under way: there is none for FAPI clients. */
export function leewayFor(seconds: number): number {
  return Provider.ctx?.oidc.client?.fapi_profile === undefined ? seconds : 0;
}

export type ReuseDependencies = {
  db: Database;
  memo?: RequestMemo;
  /** Tells whoever runs the server. */
  warn(facts: Record<string, unknown>, message: string): void;
};

/**
 * The library destroys a reused token and, at the same time, revokes its grant. Here the token waits for its grant, so
 * that whoever ends the family still finds it and can say what happened.
 */
export function keepReusedTokenForItsRecord(provider: Provider): void {
  const prototype = provider.RefreshToken.prototype as unknown as { destroy(): Promise<void> };
  const { destroy } = prototype;
  prototype.destroy = async function destroyUnlessReused(this: { consumed?: unknown }) {
    if (!this.consumed || !isRefreshing(Provider.ctx)) await destroy.call(this);
  };
}

/**
 * Asked by the library before it revokes what hangs on a grant: whether the grant goes too. It is the last public point
 * before a reuse leaves its traces, so the family of a reused refresh token ends here: in one transaction with the
 * record of it, which thus is written once however many reuses there are at once, and never without the other.
 */
export function revokeGrantPolicy(dependencies: ReuseDependencies) {
  return async (ctx: KoaContextWithOIDC): Promise<boolean> => {
    const { known } = dependencies.memo ?? {};
    const { RefreshToken: token, AccessToken: accessToken } = ctx.oidc.entities;
    if (isRefreshing(ctx) && token?.consumed) await endReusedFamily(dependencies, token, requestSource(ctx));
    await endReusedCode(dependencies.db, ctx);
    const endingGrant = !(ctx.oidc.route === 'revocation' && accessToken);
    if (known) known.endingGrant = endingGrant;
    return endingGrant;
  };
}

/**
 * The library uses a token up and stores its successor then; here both are one statement, that of the successor.
 * False where no successor follows.
 */
export function startRotation(known: Known | undefined, id: string): boolean {
  if (!known || !isRefreshing(Provider.ctx)) return false;
  known.rotating = id;
  return true;
}

/** The id of the token whose successor is to be stored now; asked once. */
export function startedRotation(known: Known | undefined): string | undefined {
  const id = known?.rotating;
  if (known) known.rotating = undefined;
  return id;
}

function isRefreshing(ctx: KoaContextWithOIDC | undefined): boolean {
  return ctx?.oidc.route === 'token' && ctx.oidc.params?.grant_type === 'refresh_token';
}

async function endReusedFamily({ db, warn }: ReuseDependencies, token: RefreshToken, source: AuditSource) {
  const { accountId, clientId, sessionUid, grantId = '', rotations = 0 } = token;
  const facts = await db.transaction(async (tx) => {
    const deleted = await deleteGrants(tx, [grantId]);
    const id = storedId('RefreshToken', token.jti);
    const reused = deleted.find((row) => row.model === 'RefreshToken' && row.id === id);
    // Another reuse at the same moment was faster.
    if (!reused?.consumedAt) return undefined;
    const late = Math.floor((Date.now() - reused.consumedAt.getTime()) / 1000);
    const details = { seconds_since_rotation: late, rotations, grant_id: grantId };
    await record(tx, { event: 'refresh-token.reused', accountId, clientId, sessionUid, source, details });
    return { accountId, clientId, ...source, ...details };
  });
  if (facts) warn(facts, 'a rotated refresh token was used again: its whole family is revoked');
}
