/** What this provider decides where the library asks: when to prompt, who may see a token, how long things live. */
import { createHmac } from 'node:crypto';
import { type Configuration, errors, interactionPolicy } from 'oidc-provider';
import type { Database } from '../db/database.ts';
import { isTooDeep } from '../http/body.ts';
import { anotherAccountCheck, deviceConsentCheck } from './device-prompts.ts';
import { checkFapiProfile } from './fapi.ts';
import { checkRotation, refreshAbsoluteSeconds, refreshTokenTtl } from './refresh-tokens.ts';
import { addStepUp } from './step-up.ts';

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

/** An idle session ends after this many seconds, … */
const sessionIdleSeconds = 14 * day;
/** … and every session this long after sign-in (SECURITY 34). */
const sessionAbsoluteSeconds = 30 * day;
/** Seconds that a session signed in at `loginTs` may still live. */
export function sessionTtl(loginTs: number | undefined, now = Date.now()): number {
  const left = (loginTs ?? Math.floor(now / 1000)) + sessionAbsoluteSeconds - Math.floor(now / 1000);
  return Math.max(1, Math.min(sessionIdleSeconds, left));
}

export const ttl: NonNullable<Configuration['ttl']> = {
  // A token for an API lives as long as the API wants.
  AccessToken: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? hour,
  AuthorizationCode: minute,
  DeviceCode: 10 * minute,
  ClientCredentials: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? 10 * minute,
  IdToken: hour,
  Interaction: hour,
  // A grant must outlive every token that hangs on it.
  Grant: sessionAbsoluteSeconds + refreshAbsoluteSeconds + day,
  RefreshToken: refreshTokenTtl,
  // Before sign-in a session only guards forms.
  Session: (_ctx, session) => (session.accountId ? sessionTtl(session.loginTs) : hour),
};

/** The library's prompts, with checks of our own: the person of this session may be gone, or have to show more. */
export function promptPolicy(db: Database): interactionPolicy.DefaultPolicy {
  const policy = interactionPolicy.base();
  const login = policy.get('login');
  const consent = policy.get('consent');
  if (!login || !consent) throw new Error('the library has no login or consent prompt');
  login.checks.add(
    new interactionPolicy.Check('account_gone', 'End-User authentication is required', 'login_required', (ctx) =>
      Boolean(ctx.oidc.session?.accountId && !ctx.oidc.account),
    ),
  );
  addStepUp(login, db);
  login.checks.add(anotherAccountCheck());
  consent.checks.add(deviceConsentCheck());
  const native = consent.checks.get('native_client_prompt');
  if (native) {
    const check = native.check;
    // RFC 8252 §8.6 asks again because anybody may pose as a native app; the operator's own is not asked about at all.
    native.check = (ctx) => (ctx.oidc.client?.first_party === true ? false : check(ctx));
  }
  return policy;
}

/**
 * OIDC Core §8.1: one pseudonym per account and sector, which nobody outside can compute or turn back. The prefix keeps it
 * apart from every other subject: `u_` of people, `c_` and addresses of clients (SECURITY 47).
 */
export function pairwiseIdentifier(salt: string): NonNullable<Configuration['pairwiseIdentifier']> {
  return async (_ctx, accountId, client) => {
    const facts = JSON.stringify([client.sectorIdentifier, accountId]);
    return `p_${createHmac('sha256', salt).update(facts).digest('base64url')}`;
  };
}

/** Nothing that OIDC Core §5.5 describes is nested deeply; what is would exhaust the stack where it is copied and stored. */
export function checkClaimsParameter(claims: object): void {
  if (isTooDeep(claims)) throw new errors.InvalidRequest('claims parameter is nested too deeply');
}

/** OIDC Core §11: refresh tokens for offline_access, and for the operator's own applications without asking. */
export const issueRefreshToken: NonNullable<Configuration['issueRefreshToken']> = async (_ctx, client, source) =>
  client.grantTypeAllowed('refresh_token') && (source.scopes.has('offline_access') || client.first_party === true);

export const extraClientMetadata: NonNullable<Configuration['extraClientMetadata']> = {
  properties: [
    ...['require_pkce', 'first_party', 'unverified', 'unused', 'authorization_metadata', 'rotate_refresh_token'],
    ...['fapi_profile', 'dpop_require_nonce', 'keys_as_of', 'require_second_factor'],
  ],
  validator(_ctx, key, value, metadata) {
    if (key === 'rotate_refresh_token') return checkRotation(value, metadata);
    if (key === 'fapi_profile') return checkFapiProfile(value, metadata);
    if (key === 'authorization_metadata' || key === 'keys_as_of') return;
    if (value !== undefined && typeof value !== 'boolean') {
      throw new errors.InvalidClientMetadata(`${key} must be a boolean`);
    }
  },
};
