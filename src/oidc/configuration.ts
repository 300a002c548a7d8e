import type { ClientAuthMethod, Configuration, JWKS } from 'oidc-provider';
import { type AdapterDependencies, createAdapter } from './adapter.ts';
import { markOutage } from './outage.ts';
import type { LibraryPages } from './pages.ts';
import {
  checkClaimsParameter,
  extraClientMetadata,
  issueRefreshToken,
  loadExistingGrant,
  mayAskAboutToken,
  pairwiseIdentifier,
  promptPolicy,
  ttl,
} from './policy.ts';
import { scopeClaims, supportedScopes } from './scopes.ts';

export type ConfigurationDependencies = AdapterDependencies & {
  secure: boolean;
  cookieSecrets: readonly string[];
  /** PKCE of every client, or of public clients and those that ask for it themselves. */
  pkce: 'public' | 'all';
  allowedOrigins: readonly string[];
  pairwiseSalt: string;
  /** The guarded fetch for every request made on a client's behalf. */
  fetch: typeof fetch;
  /** All standard claims of an account that may be used; undefined when there is none. */
  accountClaims: (sub: string) => Promise<({ sub: string } & Record<string, unknown>) | undefined>;
  pages: LibraryPages;
};

const clientAuthMethods: ClientAuthMethod[] = ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'];

/** Algorithms that verify with a public key; a stored hash must never serve as an HMAC key. */
const asymmetric = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'] as const;

const maxFetchedBytes = 64 * 1024;

/** Cookie names: plain ones on http, where prefixes and `Secure` would keep browsers from sending them. */
function cookieNames(secure: boolean): { session: string; interaction: string; resume: string } {
  const scoped = secure ? '__Secure-latchkey_' : 'latchkey_';
  return {
    session: secure ? '__Host-latchkey_session' : 'latchkey_session',
    interaction: `${scoped}interaction`,
    resume: `${scoped}resume`,
  };
}

/** The attributes of the session cookie, shared by the library and our own sign-in. */
export const longCookie = { signed: true, httpOnly: true, sameSite: 'lax', overwrite: true, path: '/' } as const;
export const shortCookie = { signed: true, httpOnly: true, sameSite: 'lax', overwrite: true } as const;

/** Everything the library is told. Each option that differs from its default says why where it is not plain. */
export function buildConfiguration(dependencies: ConfigurationDependencies, jwks: JWKS): Configuration {
  const { pages } = dependencies;
  const accountClaims = (sub: string) => markOutage(dependencies.accountClaims(sub));
  const findGrant = loadExistingGrant(dependencies.db);
  if (dependencies.cookieSecrets.length === 0) throw new Error('without cookie secrets the library signs no cookie');

  return {
    adapter: createAdapter(dependencies),
    jwks,
    routes: {
      authorization: '/auth',
      token: '/token',
      userinfo: '/userinfo',
      jwks: '/jwks',
      introspection: '/introspection',
      revocation: '/revocation',
      pushed_authorization_request: '/request',
      end_session: '/session/end',
    },
    responseTypes: ['code'],
    scopes: supportedScopes,
    claims: {
      // How and when somebody signed in belongs into every ID token: clients should not have to know to ask.
      openid: ['sub', 'acr', 'amr', 'auth_time'],
      iss: null,
      sid: null,
      ...Object.fromEntries(Object.entries(scopeClaims).map(([scope, claims]) => [scope, [...claims]])),
    },
    subjectTypes: ['public', 'pairwise'],
    pairwiseIdentifier: pairwiseIdentifier(dependencies.pairwiseSalt),
    clientAuthMethods,
    enabledJWA: {
      clientAuthSigningAlgValues: [...asymmetric],
      requestObjectSigningAlgValues: [...asymmetric],
      idTokenSigningAlgValues: ['RS256', 'ES256'],
      dPoPSigningAlgValues: ['ES256', 'EdDSA', 'Ed25519', 'RS256', 'PS256'],
    },
    cookies: {
      keys: [...dependencies.cookieSecrets],
      names: cookieNames(dependencies.secure),
      long: { ...longCookie },
      short: { ...shortCookie },
    },
    interactions: {
      policy: promptPolicy(),
      url: (_ctx, interaction) => `/auth/interaction/${interaction.uid}`,
    },
    pkce: {
      required: (_ctx, client) =>
        dependencies.pkce === 'all' || client.clientAuthMethod === 'none' || client.require_pkce === true,
    },
    features: {
      devInteractions: { enabled: false },
      claimsParameter: { enabled: true, assertClaimsParameter: (_ctx, claims) => checkClaimsParameter(claims) },
      clientCredentials: { enabled: true },
      introspection: {
        enabled: true,
        // The library looks at the grant and the session; that the account may still be used is ours to say.
        allowedPolicy: async (_ctx, client, token) =>
          mayAskAboutToken(client, token) &&
          (!('accountId' in token) || (await accountClaims(token.accountId)) !== undefined),
      },
      revocation: { enabled: true, allowedPolicy: (_ctx, client, token) => mayAskAboutToken(client, token) },
      resourceIndicators: { enabled: false },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx) => markOutage(pages.logout(ctx)),
        postLogoutSuccessSource: (ctx) => markOutage(pages.loggedOut(ctx)),
      },
    },
    renderError: (ctx, out, error) => pages.error(ctx, out, error),
    findAccount: async (_ctx, sub) => {
      const claims = await accountClaims(sub);
      return claims && { accountId: sub, claims: () => claims };
    },
    loadExistingGrant: (ctx) => markOutage(findGrant(ctx)),
    issueRefreshToken,
    // CONTRACT: on every refresh, for public and confidential clients alike, unless told otherwise.
    rotateRefreshToken: true,
    ttl,
    extraClientMetadata,
    clientBasedCORS: (_ctx, origin, client) =>
      dependencies.allowedOrigins.includes(origin) ||
      (client.clientAuthMethod === 'none' && (client.redirectUris ?? []).some((uri) => originOf(uri) === origin)),
    fetch: dependencies.fetch,
    fetchResponseBodyLimits: { jwks_uri: maxFetchedBytes, sector_identifier_uri: maxFetchedBytes },
  };
}

function originOf(uri: string): string | undefined {
  return URL.canParse(uri) ? new URL(uri).origin : undefined;
}
