/**
 * Resource indicators (RFC 8707): which API a token is made for, what it looks like, and which scopes may be asked for.
 * A scope or an API that this client does not have is refused wherever it is asked for; the library would drop it.
 */
import {
  type Client,
  type Configuration,
  errors,
  type FindAccount,
  type KoaContextWithOIDC,
  type RefreshToken,
  type ResourceServer,
} from 'oidc-provider';
import type { ApiAccess, ApiDirectory } from '../apis/api-directory.ts';
import { markOutage } from './outage.ts';
import { supportedScopes } from './scopes.ts';

type Feature = NonNullable<NonNullable<Configuration['features']>['resourceIndicators']>;

const mostResources = 10;

export type ResourceIndicators = { [name in keyof Feature]-?: NonNullable<Feature[name]> };

export function resourceIndicators(apis: ApiDirectory): ResourceIndicators {
  /** What was looked up for a request: an API is asked about several times in one. */
  const found = new WeakMap<KoaContextWithOIDC, Map<string, ApiAccess | undefined>>();

  return { enabled: true, getResourceServerInfo, defaultResource, useGrantedResource };

  /** RFC 8707 §2: `invalid_target` for an API that is unknown, or that this client has no access to: it is told no more. */
  async function getResourceServerInfo(
    ctx: KoaContextWithOIDC,
    identifier: string,
    client: Client,
  ): Promise<ResourceServer> {
    const asked = [...new Set([identifier, ...resourcesAskedFor(ctx)])];
    if (asked.length > mostResources) throw new errors.InvalidTarget('too many resource indicators');
    const known = await accessOf(ctx, client, asked);
    const access = known.get(identifier);
    const all = asked.map((one) => known.get(one)).filter((one) => one !== undefined);
    if (!access || all.length < asked.length) throw unknownResource();
    requireKnownScopes(ctx, all);
    requireSomethingAsked(ctx, all);
    return resourceServer(access);
  }

  /** Without `resource` a service's token is for its one API, when it has just one; anything else is for none. */
  async function defaultResource(
    ctx: KoaContextWithOIDC,
    client: Client,
    oneOf?: readonly string[],
  ): Promise<string | readonly string[] | undefined> {
    if (oneOf) return oneOf;
    const only = isForService(ctx) ? await markOutage(apis.findOnlyAccess(client.clientId)) : undefined;
    if (only) memoOf(ctx).set(only.identifier, only);
    else requireKnownScopes(ctx, []);
    return only?.identifier;
  }

  async function accessOf(ctx: KoaContextWithOIDC, { clientId }: Client, identifiers: string[]) {
    const memo = memoOf(ctx);
    const missing = identifiers.filter((identifier) => !memo.has(identifier));
    if (missing.length > 0) {
      const access = await markOutage(apis.findAccess(clientId, missing, { forPerson: !isForService(ctx) }));
      for (const identifier of missing)
        memo.set(
          identifier,
          access.find((one) => one.identifier === identifier),
        );
    }
    return memo;
  }

  function memoOf(ctx: KoaContextWithOIDC): Map<string, ApiAccess | undefined> {
    const memo = found.get(ctx) ?? new Map<string, ApiAccess | undefined>();
    found.set(ctx, memo);
    return memo;
  }
}

const redeemable = ['AuthorizationCode', 'DeviceCode', 'RefreshToken'];

/**
 * Refuses the API that a token request names before a code or refresh token is turned into tokens: one that was not asked
 * for at first (RFC 8707 §2.2), one that the client has lost, or one where the person allowed nothing (SECURITY 48).
 */
export async function requireAllowedResource(
  { getResourceServerInfo }: Pick<ResourceIndicators, 'getResourceServerInfo'>,
  ctx: KoaContextWithOIDC,
  source: Parameters<FindAccount>[2] & object,
): Promise<void> {
  const { params, client, entities } = ctx.oidc;
  if (!redeemable.includes(source.kind) || !client) return;
  const { resource: granted, scopes: grantedScopes, rar } = source as RefreshToken;
  const scopes = params?.scope ? ctx.oidc.requestParamScopes : grantedScopes;
  const resource = params?.resource ?? (scopes.has('openid') ? undefined : granted);
  if (resource === undefined) return;
  if (typeof resource !== 'string' || ![granted].flat().includes(resource)) throw unknownResource();
  const { scope } = await getResourceServerInfo(ctx, resource, client);
  const possible = scope.split(' ').filter((one) => scopes.has(one));
  if (!entities.Grant?.getResourceScopeFiltered(resource, possible) && !rar) {
    throw new errors.InvalidTarget('nothing was allowed at this resource');
  }
}

/**
 * RFC 8707 §2.2: a token request without `resource` is processed with no resource in mind. So a client that asked for
 * openid and an API gets a token for userinfo then, and one for the API by naming it; it can have both.
 */
const useGrantedResource = async () => false;

/** What the library is told of an API: RFC 9068 tokens signed with the API's algorithm, or opaque ones. */
export function resourceServer(api: ApiAccess): ResourceServer {
  return {
    scope: Object.keys(api.scopes).join(' '),
    audience: api.identifier,
    accessTokenTTL: api.tokenLifetimeSeconds,
    accessTokenFormat: api.tokenFormat,
    ...(api.tokenFormat === 'jwt' && { jwt: { sign: { alg: api.signingAlg } } }),
  };
}

/** RFC 6749 §4.1.2.1, §5.2. Scopes of OpenID Connect are about a person: a service's own token cannot have them. */
function requireKnownScopes(ctx: KoaContextWithOIDC, apis: readonly ApiAccess[]): void {
  const asked = [...ctx.oidc.requestParamScopes].filter(Boolean);
  const ofPeople = isForService(ctx) ? [] : supportedScopes;
  const unknown = asked.find(
    (scope) => !ofPeople.includes(scope) && !apis.some((api) => Object.hasOwn(api.scopes, scope)),
  );
  if (unknown !== undefined) throw new errors.InvalidScope('the scope is unknown, or not for this client', unknown);
}

/**
 * A person is asked about scopes, so a request that names an API without any of its scopes would get what nobody was asked
 * about (SECURITY 48). Authorization details (RFC 9396) may say it instead.
 */
function requireSomethingAsked({ oidc }: KoaContextWithOIDC, apis: readonly ApiAccess[]): void {
  if (oidc.params?.grant_type !== undefined || oidc.params?.authorization_details !== undefined) return;
  const asked = oidc.requestParamScopes;
  if (apis.some(({ scopes }) => !Object.keys(scopes).some((scope) => asked.has(scope)))) {
    throw new errors.InvalidScope('ask for a scope of each resource', String(oidc.params?.scope ?? ''));
  }
}

function isForService({ oidc }: KoaContextWithOIDC): boolean {
  return oidc.params?.grant_type === 'client_credentials';
}

function resourcesAskedFor({ oidc }: KoaContextWithOIDC): string[] {
  return [oidc.params?.resource ?? []].flat() as string[];
}

/** A request object can have an empty list, which the library takes for no resource without asking us about the scopes. */
export function requireResource({ resource }: Record<string, unknown>): void {
  if (Array.isArray(resource) && resource.length === 0) throw unknownResource();
}

/** `scopes`: name → what it means, in the operator's words. */
export type AskedApi = { identifier: string; name: string; scopes: Record<string, string> };

/** RFC 8707: the APIs that a request names, each with those of the request's scopes that this client may ask for there. */
export async function askedApis(
  apis: ApiDirectory,
  clientId: string,
  { resource, scope = '' }: { resource?: string | string[] | undefined; scope?: string | undefined },
): Promise<AskedApi[]> {
  const names = scope.split(' ');
  const access = await apis.findAccess(clientId, [resource ?? []].flat(), { forPerson: true });
  return access.map(({ identifier, name, scopes }) => ({
    identifier,
    name,
    scopes: Object.fromEntries(Object.entries(scopes).filter(([one]) => names.includes(one))),
  }));
}

function unknownResource(): errors.InvalidTarget {
  return new errors.InvalidTarget('the resource is unknown, or not for this client');
}
