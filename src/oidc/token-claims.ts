import type { AccessToken, ClientCredentials, Configuration, KoaContextWithOIDC } from 'oidc-provider';

/** The operator's words about the client, for the API that the token is shown to. */
const clientClaim = 'urn:latchkey:client';

/** What a token in JWT form hangs on, so that it can be asked about; the introspection answer leaves it out. */
export const grantClaim = 'urn:latchkey:grant';

/**
 * What our access tokens say besides the standard claims, in JWT form and at introspection alike. RFC 9068 §2.2: the
 * subject of a token that a client got for itself is the client; opaque ones say the same.
 */
export const extraTokenClaims: NonNullable<Configuration['extraTokenClaims']> = async (ctx, token) => {
  const about = ctx.oidc.client?.authorization_metadata as object | undefined;
  return {
    // What an exchange has put in (`act`).
    ...token.extra,
    ...(token.kind === 'ClientCredentials' && { sub: token.clientId }),
    ...(about && { [clientClaim]: about }),
  };
};

type JwtCustomizer = (
  ctx: KoaContextWithOIDC,
  token: AccessToken | ClientCredentials,
  jwt: { payload: Record<string, unknown> },
) => void;

/**
 * A grant's id is no credential (CONTRACT), and follows from nothing that an API could make use of. What is older than its
 * grant is not believed, and the grant may be from an instance whose clock is ahead, or from before a clock was set back.
 */
const nameGrant: JwtCustomizer = ({ oidc }, token, { payload }) => {
  if (!('grantId' in token)) return;
  payload[grantClaim] = token.grantId;
  const grant = oidc.entities.Grant;
  if (grant?.jti === token.grantId) payload.iat = Math.max(Number(payload.iat), grant.iat ?? 0);
};

export const formats = { customizers: { jwt: nameGrant } } as NonNullable<Configuration['formats']>;
