/**
 * Rich authorization requests (RFC 9396): a client asks for exactly one payment, one account, one file, and the person
 * sees which. What was allowed belongs to that request: it goes from the answer into the code and the tokens, is never
 * remembered, and never spreads to another request.
 */
import {
  type AuthorizationDetailsForIntrospection,
  errors,
  type KoaContextWithOIDC,
  type RichAuthorizationRequestsActiveConfiguration,
} from 'oidc-provider';
import { type AuthorizationDetailsType, listAuthorizationDetailsTypes } from '../apis/authorization-details-types.ts';
import type { Database } from '../db/database.ts';
import { isTooDeep, isVisibleText } from '../http/body.ts';
import type { ClientStorage } from './adapter.ts';

export type AuthorizationDetail = { type: string } & Record<string, unknown>;

type Feature = RichAuthorizationRequestsActiveConfiguration & {
  authorizationDetailsForIntrospection: AuthorizationDetailsForIntrospection;
};
type Source = { rar?: unknown } | undefined;

/** More than these, or longer than this, nobody reads on a page. */
const mostDetails = 10;
const longestDetail = 2_000;

/** The library fixes the types when a provider is made; a change of the registry makes a new provider. */
export function richAuthorizationRequests(types: readonly AuthorizationDetailsType[]): Feature {
  const apiOf = new Map(types.map(({ type, apiIdentifier }) => [type, apiIdentifier]));
  const forApi = (details: AuthorizationDetail[] | undefined, api: string | undefined) =>
    details?.filter(({ type }) => api !== undefined && apiOf.get(type) === api);

  return {
    enabled: types.length > 0,
    types: Object.fromEntries(
      types.map((type) => [
        type.type,
        { validate: (ctx: KoaContextWithOIDC, detail: AuthorizationDetail) => requireValid(ctx, type, detail) },
      ]),
    ),
    // What the person allowed in this very request; without a question nothing was allowed.
    authorizationDetailsForGrantSource: (ctx) => allowedIn(ctx),
    authorizationDetailsForAccessToken(ctx, token, source) {
      const asked = askedIn(ctx);
      const granted = (source as Source)?.rar as AuthorizationDetail[] | undefined;
      if (!source) return forApi(asked, audienceOf(token));
      return forApi(asked ? narrowed(granted ?? [], asked) : granted, audienceOf(token));
    },
    authorizationDetailsForIntrospection: (_ctx, token) => (token as Source)?.rar as AuthorizationDetail[] | undefined,
  } as Feature;
}

/** To the library a client that lists a type it does not know is no client at all; here it only lost that type. */
export function withKnownTypes(clients: ClientStorage, types: readonly AuthorizationDetailsType[]): ClientStorage {
  const known = new Set(types.map(({ type }) => type));
  return {
    ...clients,
    async find(...args) {
      const metadata = await clients.find(...args);
      const listed = metadata?.authorization_details_types;
      if (!metadata || !Array.isArray(listed)) return metadata;
      return { ...metadata, authorization_details_types: listed.filter((type) => known.has(type)) };
    },
  };
}

/** What a person is asked: a detail, and the operator's words for its type. */
export type AskedDetail = { title: string; detail: AuthorizationDetail };

/** The details that a request asks for, in its order. */
export async function askedDetails(db: Database, parameter: string | undefined): Promise<AskedDetail[]> {
  const details = requestedDetails(parameter);
  if (details.length === 0) return [];
  const types = await listAuthorizationDetailsTypes(db);
  return details.map((detail) => ({
    detail,
    title: types.find(({ type }) => type === detail.type)?.title ?? detail.type,
  }));
}

function requestedDetails(parameter: unknown): AuthorizationDetail[] {
  return typeof parameter === 'string' ? (JSON.parse(parameter) as AuthorizationDetail[]) : [];
}

function askedIn({ oidc }: KoaContextWithOIDC): AuthorizationDetail[] | undefined {
  const parameter = oidc.params?.authorization_details;
  return parameter === undefined ? undefined : requestedDetails(parameter);
}

type ConsentToDetails = { authorizationDetails?: AuthorizationDetail[] };

/** What the answer to a question carries of the details that were allowed. */
export function consentToDetails(allowed: readonly AskedDetail[]): ConsentToDetails {
  return allowed.length === 0 ? {} : { authorizationDetails: allowed.map(({ detail }) => detail) };
}

function allowedIn({ oidc }: KoaContextWithOIDC): AuthorizationDetail[] {
  const { consent } = (oidc.result ?? {}) as { consent?: ConsentToDetails };
  return consent?.authorizationDetails ?? [];
}

function audienceOf(token: unknown): string | undefined {
  const { resourceServer, aud } = token as { resourceServer?: { identifier(): string }; aud?: string };
  return resourceServer?.identifier() ?? aud;
}

/** RFC 9396 §6.1: a token request may ask for some of what was granted, and for nothing else. */
function narrowed(granted: readonly AuthorizationDetail[], asked: readonly AuthorizationDetail[]) {
  const key = (detail: AuthorizationDetail) => JSON.stringify(Object.entries(detail).sort());
  const known = new Set(granted.map(key));
  if (!asked.every((detail) => known.has(key(detail)))) {
    throw new errors.InvalidAuthorizationDetails('authorization_details asks for more than was granted');
  }
  return [...asked];
}

/** @throws {errors.InvalidAuthorizationDetails} RFC 9396 §5 */
function requireValid(ctx: KoaContextWithOIDC, type: AuthorizationDetailsType, detail: AuthorizationDetail): void {
  const refuse = (description: string) => new errors.InvalidAuthorizationDetails(`${type.type}: ${description}`);
  const { client, params } = ctx.oidc;
  const listed = (client as { authorizationDetailsTypes?: string[] } | undefined)?.authorizationDetailsTypes;
  if (!listed?.includes(type.type)) throw refuse('this client has not registered the type');
  if (requestedDetails(params?.authorization_details).length > mostDetails) throw refuse('too many details');
  if (isTooDeep(detail) || JSON.stringify(detail).length > longestDetail) throw refuse('the detail is too large');

  if (!areVisible(detail)) throw refuse('the detail holds characters that a person cannot see');
  const members = new Set(['type', 'locations', ...(type.actions.length > 0 ? ['actions'] : []), ...type.fields]);
  const unknown = Object.keys(detail).find((name) => !members.has(name));
  if (unknown !== undefined) throw refuse(`${unknown} is not a member of this type`);
  const action = ((detail.actions ?? []) as string[]).find((name) => !type.actions.includes(name));
  if (action !== undefined) throw refuse(`${action} is not an action of this type`);
  const locations = (detail.locations ?? [type.apiIdentifier]) as string[];
  if (locations.some((location) => location !== type.apiIdentifier)) throw refuse('locations must name its API');
  const resources = [params?.resource ?? []].flat();
  if (!resources.includes(type.apiIdentifier)) throw refuse(`the request must name its API as resource`);
}

/** A person decides by these words. */
function areVisible(value: unknown): boolean {
  if (typeof value === 'string') return isVisibleText(value);
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([name, inner]) => isVisibleText(name) && areVisible(inner));
}
