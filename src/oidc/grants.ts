/**
 * Grants: what one session of an account gives one client. What the account said to the client, in whichever browser, is
 * remembered apart from them (consents.ts) and copied into each.
 */
import { createHash } from 'node:crypto';
import type { Configuration, Grant, KoaContextWithOIDC } from 'oidc-provider';
import type { Database } from '../db/database.ts';
import { type ApiScopes, type Consent, findConsent, isConsentHeld } from './consents.ts';

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
    const asked = askedOf(ctx);
    const ownApp = client.first_party === true;
    if (existing && covers(existing, asked, ownApp)) return existing;
    const consent = ownApp ? everything(existing, asked) : await findConsent(db, account.accountId, client.clientId);
    if (!consent) return existing;
    const grant = existing ?? newGrant(ctx, grantIdOf(session.uid, account.accountId, client.clientId));
    applyConsent(grant, consent);
    await grant.save();
    if (ownApp || (await isConsentHeld(db, account.accountId, client.clientId))) return grant;
    await grant.destroy();
    return undefined;
  };
}

type Asked = { scopes: string[]; claims: string[]; apiScopes: ApiScopes };

function askedOf({ oidc }: KoaContextWithOIDC): Asked {
  const scopes = [...oidc.requestParamScopes];
  const apis = Object.entries(oidc.resourceServers ?? {});
  return {
    scopes: [...oidc.requestParamOIDCScopes],
    claims: [...oidc.requestParamClaims],
    apiScopes: Object.fromEntries(apis.map(([api, server]) => [api, scopes.filter((one) => server.scopes.has(one))])),
  };
}

/** Whether a grant has an answer to all that is asked; for the operator's own application, the answer yes. */
function covers(grant: Grant, asked: Asked, ownApp: boolean): boolean {
  const scopes = (ownApp ? grant.getOIDCScope() : grant.getOIDCScopeEncountered()).split(' ');
  const claims = ownApp ? grant.getOIDCClaims() : grant.getOIDCClaimsEncountered();
  const apiScopes = (api: string) =>
    (ownApp ? grant.getResourceScope(api) : grant.getResourceScopeEncountered(api)).split(' ');
  return (
    asked.scopes.every((scope) => scopes.includes(scope)) &&
    asked.claims.every((claim) => claims.includes(claim)) &&
    Object.entries(asked.apiScopes).every(([api, names]) => names.every((name) => apiScopes(api).includes(name)))
  );
}

function everything(existing: Grant | undefined, asked: Asked): Consent {
  const union = (...names: string[]) => [...new Set(names)].filter(Boolean);
  const held = (api: string) => existing?.getResourceScope(api).split(' ') ?? [];
  const apis = union(...Object.keys(existing?.resources ?? {}), ...Object.keys(asked.apiScopes));
  return {
    grantedScopes: union(...(existing?.getOIDCScope().split(' ') ?? []), ...asked.scopes),
    refusedScopes: [],
    grantedClaims: union(...(existing?.getOIDCClaims() ?? []), ...asked.claims),
    refusedClaims: [],
    grantedApiScopes: Object.fromEntries(
      apis.map((api) => [api, union(...held(api), ...(asked.apiScopes[api] ?? []))]),
    ),
    refusedApiScopes: {},
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
  grant.resources = undefined as never;
  grant.rejected = undefined as never;
  grant.addOIDCScope(['openid', ...consent.grantedScopes.filter((scope) => scope !== 'openid')].join(' '));
  if (consent.grantedClaims.length > 0) grant.addOIDCClaims(consent.grantedClaims);
  if (consent.refusedScopes.length > 0) grant.rejectOIDCScope(consent.refusedScopes.join(' '));
  if (consent.refusedClaims.length > 0) grant.rejectOIDCClaims(consent.refusedClaims);
  for (const [api, scopes] of Object.entries(consent.grantedApiScopes)) {
    if (scopes.length > 0) grant.addResourceScope(api, scopes.join(' '));
  }
  for (const [api, scopes] of Object.entries(consent.refusedApiScopes)) {
    if (scopes.length > 0) grant.rejectResourceScope(api, scopes.join(' '));
  }
}
