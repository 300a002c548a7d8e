/**
 * What FAPI 2.0 asks of each request of a client with `fapi_profile`, where the library leaves it to us. What it asks of
 * registration is clients/fapi-metadata.ts; a request must be pushed, use PKCE, prove a key and so on because of that.
 */
import { type Client, type ClientMetadata, type Configuration, errors, type KoaContextWithOIDC } from 'oidc-provider';
import { fapiProfiles, isFapiProfile } from '../clients/fapi-metadata.ts';
import { fapiAlgorithms } from '../keys/signing-algorithms.ts';
import { requireResource } from './resource-servers.ts';

export function isFapiClient(client: Pick<Client, 'clientId'> | undefined): boolean {
  return client !== undefined && isFapiProfile((client as { fapi_profile?: unknown }).fapi_profile);
}

/**
 * Fails closed: whatever became of the server's settings since the client was registered, tokens without a key are not
 * for FAPI clients.
 * @throws {errors.InvalidClientMetadata}
 */
export function checkFapiProfile(profile: unknown, metadata: ClientMetadata): void {
  if (profile === undefined) return;
  if (!isFapiProfile(profile))
    throw new errors.InvalidClientMetadata(`fapi_profile must be ${fapiProfiles.join(' or ')}`);
  if (metadata.dpop_bound_access_tokens || metadata.tls_client_certificate_bound_access_tokens) return;
  throw new errors.InvalidClientMetadata('fapi_profile needs tokens bound to a DPoP key or a client certificate');
}

/** Tells the library which of its own FAPI rules a request falls under. */
export const fapiFeature: NonNullable<Configuration['features']>['fapi'] = {
  enabled: true,
  profile: (_ctx, client) => (isFapiClient(client) ? '2.0' : undefined),
};

/** Longer than any clock or queue needs: a spent `jti` is remembered until its assertion expires. */
const assertionSeconds = 3600;

/** FAPI 2.0 Security Profile §5.3.2.1: clocks may differ, by less than this. */
const futureSeconds = 60;

type Claims = Record<string, unknown>;
type AssertClientAssertion = NonNullable<Configuration['assertJwtClientAuthClaimsAndHeader']>;
type AssertRequestObject = (ctx: KoaContextWithOIDC, claims: Claims, header: Claims, client: Client) => void;

/**
 * Called with a client assertion whose signature, `iss`, `aud` and time are right (RFC 7523 §3).
 * @throws {errors.InvalidClientAuth}
 */
export const assertClientAssertion: AssertClientAssertion = async (ctx, claims, header, client) => {
  const refuse = (detail: string) => new errors.InvalidClientAuth(detail);
  if (Number(claims.exp) > now() + assertionSeconds + futureSeconds) {
    throw refuse('the client assertion must expire within an hour');
  }
  if (!isFapiClient(client)) return;
  if (!isFapiAlgorithm(header)) throw refuse('alg is not one of FAPI 2.0');
  // §5.3.2.1: one audience as a text, so that an assertion made for another server cannot be used here.
  if (claims.aud !== ctx.oidc.issuer) throw refuse('aud must be the issuer identifier, and nothing else');
  if (isFromTheFuture(claims)) throw refuse('the client assertion comes from the future');
};

/**
 * Called with the claims of every request object, before its signature is verified; those of a request that was pushed
 * unsigned come by here too, in the unsigned form in which the library keeps it.
 * @throws {errors.InvalidRequestObject}
 */
export const assertRequestObject: AssertRequestObject = (ctx, claims, header, client) => {
  requireResource(claims);
  if (!isFapiClient(client)) return;
  const refuse = (detail: string) => new errors.InvalidRequestObject(detail);
  const pushedBefore = 'PushedAuthorizationRequest' in ctx.oidc.entities;
  if (!pushedBefore && !isFapiAlgorithm(header)) throw refuse('alg is not one of FAPI 2.0');
  if (isFromTheFuture(claims)) throw refuse('the request object comes from the future');
  // FAPI 2.0 Message Signing §5.3.1: good for an hour at most, and made no longer than an hour ago.
  const { exp, nbf } = claims;
  if (typeof exp !== 'number') throw refuse('the request object must have exp');
  if (typeof nbf !== 'number') throw refuse('the request object must have nbf');
  if (exp <= nbf || exp - nbf > 3600) throw refuse('exp of the request object must be within an hour of nbf');
};

function isFapiAlgorithm({ alg }: Claims): boolean {
  return typeof alg === 'string' && fapiAlgorithms.includes(alg);
}

export function isFromTheFuture({ iat, nbf }: Claims): boolean {
  return [iat, nbf].some((time) => typeof time === 'number' && time > now() + futureSeconds);
}

function now(): number {
  return Math.floor(Date.now() / 1000);
}
