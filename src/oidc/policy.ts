/** What this provider decides where the library asks: when to prompt, who may see a token, how long things live. */
import { createHash, createHmac } from 'node:crypto';
import { type Configuration, errors, type Grant, interactionPolicy, type KoaContextWithOIDC } from 'oidc-provider';
import type { Database } from '../db/database.ts';
import { isTooDeep } from '../http/body.ts';
import { type Consent, findConsent } from './consents.ts';

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

/** An idle session ends after this many seconds, … */
const sessionIdleSeconds = 14 * day;
/** … and every session this long after sign-in (SECURITY 34). */
const sessionAbsoluteSeconds = 30 * day;
/** A refresh token ends when unused for this long, … */
export const refreshIdleSeconds = 30 * day;
/** … and its whole family this long after its first (SECURITY 20). */
export const refreshAbsoluteSeconds = 180 * day;

/** Seconds that a session signed in at `loginTs` may still live. */
export function sessionTtl(loginTs: number | undefined, now = Date.now()): number {
  const left = (loginTs ?? Math.floor(now / 1000)) + sessionAbsoluteSeconds - Math.floor(now / 1000);
  return Math.max(1, Math.min(sessionIdleSeconds, left));
}

export const ttl: NonNullable<Configuration['ttl']> = {
  AccessToken: hour,
  AuthorizationCode: minute,
  ClientCredentials: 10 * minute,
  IdToken: hour,
  Interaction: hour,
  // A grant must outlive every token that hangs on it.
  Grant: sessionAbsoluteSeconds + refreshAbsoluteSeconds + day,
  RefreshToken: (_ctx, token) => {
    const left = (token.iiat ?? 0) + refreshAbsoluteSeconds - Math.floor(Date.now() / 1000);
    return Math.max(1, Math.min(refreshIdleSeconds, left));
  },
  Session: (_ctx, session) => sessionTtl(session.loginTs),
};

/** The library's prompts, with one check more: the person of this session may be gone or suspended. */
export function promptPolicy(): interactionPolicy.DefaultPolicy {
  const policy = interactionPolicy.base();
  const login = policy.get('login');
  const consent = policy.get('consent');
  if (!login || !consent) throw new Error('the library has no login or consent prompt');
  login.checks.add(
    new interactionPolicy.Check('account_gone', 'End-User authentication is required', 'login_required', (ctx) =>
      Boolean(ctx.oidc.session?.accountId && !ctx.oidc.account),
    ),
  );
  const native = consent.checks.get('native_client_prompt');
  if (native) {
    const check = native.check;
    // RFC 8252 §8.6 asks again because anybody may pose as a native app; the operator's own is not asked about at all.
    native.check = (ctx) => (ctx.oidc.client?.first_party === true ? false : check(ctx));
  }
  return policy;
}

/**
 * The grant of this session for this client. One grant belongs to one session, so that the end of one (a replayed code,
 * a sign-out) never ends another; what the account said earlier, in whichever browser, is copied into it.
 */
export function loadExistingGrant(db: Database): NonNullable<Configuration['loadExistingGrant']> {
  return async (ctx) => {
    const { client, session, account, provider, result } = ctx.oidc;
    if (!client || !session || !account) return undefined;
    const heldId = result?.consent?.grantId ?? session.grantIdFor(client.clientId);
    const held = heldId ? await provider.Grant.find(heldId) : undefined;
    const existing = held?.accountId === account.accountId ? held : undefined;
    const asked = { scopes: [...ctx.oidc.requestParamOIDCScopes], claims: [...ctx.oidc.requestParamClaims] };
    const ownApp = client.first_party === true;
    if (existing && covers(existing, asked, ownApp)) return existing;
    const consent = ownApp ? everything(existing, asked) : await findConsent(db, account.accountId, client.clientId);
    if (!consent) return existing;
    const grant = existing ?? newGrant(ctx, grantIdOf(session.uid, account.accountId, client.clientId));
    applyConsent(grant, consent);
    await grant.save();
    return grant;
  };
}

type Asked = { scopes: readonly string[]; claims: readonly string[] };

/** Whether a grant has an answer to all that is asked; for the operator's own application, the answer yes. */
function covers(grant: Grant, asked: Asked, ownApp: boolean): boolean {
  const scopes = (ownApp ? grant.getOIDCScope() : grant.getOIDCScopeEncountered()).split(' ');
  const claims = ownApp ? grant.getOIDCClaims() : grant.getOIDCClaimsEncountered();
  return asked.scopes.every((scope) => scopes.includes(scope)) && asked.claims.every((claim) => claims.includes(claim));
}

function everything(existing: Grant | undefined, asked: Asked): Consent {
  return {
    grantedScopes: [...new Set([...(existing?.getOIDCScope().split(' ') ?? []), ...asked.scopes])].filter(Boolean),
    refusedScopes: [],
    grantedClaims: [...new Set([...(existing?.getOIDCClaims() ?? []), ...asked.claims])],
    refusedClaims: [],
  };
}

/**
 * The id of the grant that a session gives a client for an account. It follows from the three, so that two tabs
 * consenting at once write the same grant instead of one undoing the other's.
 */
export function grantIdOf(sessionUid: string, accountId: string, clientId: string): string {
  return createHash('sha256')
    .update(JSON.stringify([sessionUid, accountId, clientId]))
    .digest('base64url');
}

function newGrant(ctx: KoaContextWithOIDC, grantId: string): Grant {
  return new ctx.oidc.provider.Grant({
    jti: grantId,
    accountId: ctx.oidc.account?.accountId,
    clientId: ctx.oidc.client?.clientId,
  } as ConstructorParameters<KoaContextWithOIDC['oidc']['provider']['Grant']>[0]);
}

/** Makes a grant say exactly what the account said: refused means refused, whatever the grant held before. */
export function applyConsent(grant: Grant, consent: Consent): void {
  grant.openid = undefined as never;
  grant.rejected = undefined as never;
  grant.addOIDCScope(['openid', ...consent.grantedScopes.filter((scope) => scope !== 'openid')].join(' '));
  if (consent.grantedClaims.length > 0) grant.addOIDCClaims(consent.grantedClaims);
  if (consent.refusedScopes.length > 0) grant.rejectOIDCScope(consent.refusedScopes.join(' '));
  if (consent.refusedClaims.length > 0) grant.rejectOIDCClaims(consent.refusedClaims);
}

/** OIDC Core §8.1: one pseudonym per account and sector, which nobody outside can compute or turn back. */
export function pairwiseIdentifier(salt: string): NonNullable<Configuration['pairwiseIdentifier']> {
  return async (_ctx, accountId, client) =>
    createHmac('sha256', salt)
      .update(JSON.stringify([client.sectorIdentifier, accountId]))
      .digest('base64url');
}

/** A token is its client's business and that of the resource server it was issued for; to anyone else it is not active. */
export function mayAskAboutToken(
  client: { clientId: string },
  token: { clientId?: string | undefined; aud?: string | string[] | undefined },
): boolean {
  return token.clientId === client.clientId || [token.aud].flat().includes(client.clientId);
}

/** Nothing that OIDC Core §5.5 describes is nested deeply; what is would exhaust the stack where it is copied and stored. */
export function checkClaimsParameter(claims: object): void {
  if (isTooDeep(claims)) throw new errors.InvalidRequest('claims parameter is nested too deeply');
}

/** OIDC Core §11: refresh tokens for offline_access, and for the operator's own applications without asking. */
export const issueRefreshToken: NonNullable<Configuration['issueRefreshToken']> = async (_ctx, client, source) =>
  client.grantTypeAllowed('refresh_token') && (source.scopes.has('offline_access') || client.first_party === true);

export const extraClientMetadata: NonNullable<Configuration['extraClientMetadata']> = {
  properties: ['require_pkce', 'first_party', 'unverified'],
  validator(_ctx, key, value) {
    if (value !== undefined && typeof value !== 'boolean') {
      throw new errors.InvalidClientMetadata(`${key} must be a boolean`);
    }
  },
};
