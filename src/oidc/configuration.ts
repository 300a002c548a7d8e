import type { Configuration, JWKS } from 'oidc-provider';
import type { Account } from '../accounts/accounts.ts';
import type { ApiDirectory } from '../apis/api-directory.ts';
import type { AuthorizationDetailsType } from '../apis/authorization-details-types.ts';
import { acrValues } from './acr.ts';
import { type AdapterDependencies, createAdapter } from './adapter.ts';
import { administrator, type WithAdministrator } from './administrators.ts';
import { type AdvancedRequestDependencies, advancedFeatures, enabledJWA } from './advanced-requests.ts';
import { richAuthorizationRequests, withKnownTypes } from './authorization-details.ts';
import { type RegistrationPolicy, registrationMetadata } from './client-registration.ts';
import { cookieNames, longCookie, shortCookie } from './cookies.ts';
import { type DeviceFlowDependencies, deviceFlow } from './device-flow.ts';
import { requireNonceAtUserinfo } from './dpop.ts';
import { assertClientAssertion, isFapiClient } from './fapi.ts';
import { furtherMetadata } from './further-metadata.ts';
import { loadExistingGrant } from './grants.ts';
import { mayIntrospect, mayRevoke } from './introspection.ts';
import { clientAuthMethods, mtlsMetadata, requireMtlsForBoundTokens } from './mtls.ts';
import { markOutage } from './outage.ts';
import type { LibraryPages } from './pages.ts';
import {
  checkClaimsParameter,
  extraClientMetadata,
  issueRefreshToken,
  pairwiseIdentifier,
  promptPolicy,
  ttl,
} from './policy.ts';
import { type ReuseDependencies, revokeGrantPolicy, rotateRefreshToken } from './refresh-tokens.ts';
import { requireAllowedResource, resourceIndicators } from './resource-servers.ts';
import { scopeClaims, supportedScopes } from './scopes.ts';
import { extraTokenClaims, formats } from './token-claims.ts';

export type ConfigurationDependencies = AdapterDependencies &
  AdvancedRequestDependencies &
  RegistrationPolicy & {
    secure: boolean;
    cookieSecrets: readonly string[];
    /** PKCE of every client, or of public clients and those that ask for it themselves. */
    pkce: 'public' | 'all';
    allowedOrigins: readonly string[];
    pairwiseSalt: string;
    apis: ApiDirectory;
    /** The guarded fetch for every request made on a client's behalf. */
    fetch: typeof fetch;
    /** All standard claims of an account that may be used; undefined when there is none. `read` is it, where it was read. */
    accountClaims: (
      sub: string,
      read?: Account,
    ) => Promise<({ sub: string } & Record<string, unknown> & WithAdministrator) | undefined>;
    pages: LibraryPages;
    devicePages: DeviceFlowDependencies['devicePages'];
    /** Tells whoever runs the server; no secret and no token is among the facts. */
    warn: ReuseDependencies['warn'];
  };

const maxFetchedBytes = 64 * 1024;

/** Everything the library is told. Each option that differs from its default says why where it is not plain. */
export function buildConfiguration(
  dependencies: ConfigurationDependencies,
  jwks: JWKS,
  types: readonly AuthorizationDetailsType[],
): Configuration {
  const { pages, mtls } = dependencies;
  const accountClaims = (sub: string) => markOutage(dependencies.accountClaims(sub));
  const findGrant = loadExistingGrant(dependencies.db);
  const resources = resourceIndicators(dependencies.apis);
  const endGrant = revokeGrantPolicy(dependencies);
  if (dependencies.cookieSecrets.length === 0) throw new Error('without cookie secrets the library signs no cookie');

  return {
    adapter: createAdapter({ ...dependencies, clients: withKnownTypes(dependencies.clients, types) }),
    jwks,
    routes: {
      authorization: '/auth',
      token: '/token',
      userinfo: '/userinfo',
      jwks: '/jwks',
      introspection: '/introspection',
      revocation: '/revocation',
      pushed_authorization_request: '/request',
      device_authorization: '/device/auth',
      code_verification: '/device',
      end_session: '/session/end',
    },
    discovery: { ...registrationMetadata(dependencies), ...mtlsMetadata(mtls), ...furtherMetadata(mtls) },
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
    clientAuthMethods: clientAuthMethods(mtls),
    assertJwtClientAuthClaimsAndHeader: assertClientAssertion,
    acrValues,
    enabledJWA,
    cookies: {
      keys: [...dependencies.cookieSecrets],
      names: cookieNames(dependencies.secure),
      long: { ...longCookie },
      short: { ...shortCookie },
    },
    interactions: {
      policy: promptPolicy(dependencies.db),
      url: (_ctx, interaction) => `/auth/interaction/${interaction.uid}`,
    },
    pkce: {
      required: (_ctx, client) =>
        dependencies.pkce === 'all' ||
        client.clientAuthMethod === 'none' ||
        client.require_pkce === true ||
        isFapiClient(client),
    },
    features: {
      ...advancedFeatures(dependencies),
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      claimsParameter: { enabled: true, assertClaimsParameter: (_ctx, claims) => checkClaimsParameter(claims) },
      clientCredentials: { enabled: true },
      deviceFlow: deviceFlow(dependencies),
      introspection: {
        enabled: true,
        allowedPolicy: (_ctx, client, token) => mayIntrospect(dependencies, client, token),
      },
      revocation: {
        enabled: true,
        allowedPolicy: (_ctx, client, token) => mayRevoke(dependencies.apis, client, token),
      },
      resourceIndicators: resources,
      richAuthorizationRequests: richAuthorizationRequests(types),
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx) => markOutage(pages.logout(ctx)),
        postLogoutSuccessSource: (ctx) => markOutage(pages.loggedOut(ctx)),
      },
    },
    renderError: (ctx, out, error) => pages.error(ctx, out, error),
    findAccount: async (ctx, sub, token) => {
      requireNonceAtUserinfo(ctx);
      const claims = await accountClaims(sub);
      // The library comes by here before it makes tokens of a code, and before it rotates a refresh token.
      if (claims && token) await requireAllowedResource(resources, ctx, token);
      return claims && { accountId: sub, administrator: claims[administrator] === true, claims: () => claims };
    },
    loadExistingGrant: (ctx) => markOutage(findGrant(ctx)),
    extraTokenClaims,
    formats,
    issueRefreshToken,
    rotateRefreshToken,
    revokeGrantPolicy: (ctx) => markOutage(endGrant(ctx)),
    ttl,
    extraClientMetadata: mtls ? extraClientMetadata : requireMtlsForBoundTokens(extraClientMetadata),
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
