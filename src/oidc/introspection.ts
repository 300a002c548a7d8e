/**
 * Who may ask about a token, and answers about tokens in JWT form (RFC 7662). Those are not stored, and the library
 * refuses them; here they are checked as any API would check them, and on top of that for what they hang on.
 */
import type { AccessToken, ClientCredentials, KoaContextWithOIDC, RefreshToken } from 'oidc-provider';
import type { ApiDirectory } from '../apis/api-directory.ts';
import { findGrantOfToken, isJwtAccessToken, type JwtAccessToken, readJwtAccessToken } from './jwt-access-tokens.ts';
import { markOutage } from './outage.ts';
import { grantClaim } from './token-claims.ts';

export type IntrospectionDependencies = {
  apis: ApiDirectory;
  accountClaims: (sub: string) => Promise<object | undefined>;
};

type Asker = { clientId: string };
type Token = Pick<AccessToken, 'clientId'> & { aud?: string | string[] | undefined };

/**
 * True for the client that the token was issued to, and for the API's own side. For both it ends with the client's
 * access to the API, and so it does for everybody once the account may not be used any more.
 */
export async function mayIntrospect(
  { apis, accountClaims }: IntrospectionDependencies,
  { clientId: asker }: Asker,
  token: AccessToken | ClientCredentials | RefreshToken,
): Promise<boolean> {
  const allowed = await markOutage(isTokensBusiness(apis, asker, token));
  // What a person has hangs on a grant. A service's does not, though an exchanged one names the service as its account.
  const accountId = 'accountId' in token && token.grantId ? token.accountId : undefined;
  return allowed && (accountId === undefined || (await markOutage(accountClaims(accountId))) !== undefined);
}

async function isTokensBusiness(apis: ApiDirectory, asker: string, token: Token): Promise<boolean> {
  const own = token.clientId === asker;
  if (typeof token.aud !== 'string' || !token.clientId) return own;
  const allowed = await apis.findClientApis(token.aud, [asker, token.clientId]);
  return (
    allowed.some(({ clientId }) => clientId === token.clientId) &&
    (own || allowed.some(({ clientId, mayIntrospect }) => clientId === asker && mayIntrospect))
  );
}

/** RFC 7009 §2.1: a client ends its own tokens; an API those that were made for it. */
export async function mayRevoke(apis: ApiDirectory, { clientId: asker }: Asker, token: Token): Promise<boolean> {
  if (token.clientId === asker) return true;
  if (typeof token.aud !== 'string') return false;
  const allowed = await markOutage(apis.findClientApis(token.aud, [asker]));
  return allowed.some(({ mayIntrospect }) => mayIntrospect);
}

/**
 * Runs around the library's endpoint. That it refused a token for its form means that the caller has authenticated, so
 * all that is left to do is to answer.
 */
export async function answerAboutJwt(
  dependencies: IntrospectionDependencies,
  jwks: { keys: object[] },
  ctx: KoaContextWithOIDC,
  next: () => Promise<void>,
): Promise<boolean> {
  await next();
  const { oidc } = ctx;
  if (oidc?.route !== 'introspection' || ctx.status !== 400) return false;
  if ((ctx.body as { error?: string }).error !== 'unsupported_token_type') return false;
  const token = String(oidc.params?.token);
  if (!isJwtAccessToken(token) || !oidc.client) return false;
  const claims = await liveClaims(dependencies, jwks, ctx, token);
  ctx.status = 200;
  ctx.body = claims ? asAnswer(claims) : { active: false };
  if (oidc.client.introspectionSignedResponseAlg && ctx.accepts('json', signedAnswer) === signedAnswer) {
    await signAnswer(ctx);
  }
  return true;
}

const signedAnswer = 'application/token-introspection+jwt';

/** RFC 9701 §5, as the library answers about tokens that it stores. */
async function signAnswer(ctx: KoaContextWithOIDC): Promise<void> {
  const answer = new ctx.oidc.provider.IdToken({}, { ctx });
  Object.assign(answer, { extra: { token_introspection: ctx.body } });
  ctx.body = await answer.issue({ use: 'introspection' });
  ctx.type = `${signedAnswer}; charset=utf-8`;
}

function asAnswer({ [grantClaim]: _grant, ...told }: JwtAccessToken): object {
  return { ...told, active: true, token_type: told.cnf?.jkt ? 'DPoP' : 'Bearer' };
}

/** What the token says, if it is good, the caller may know, and what it hangs on is still there. */
async function liveClaims(
  dependencies: IntrospectionDependencies,
  jwks: { keys: object[] },
  { oidc }: KoaContextWithOIDC,
  token: string,
): Promise<JwtAccessToken | undefined> {
  const claims = await readJwtAccessToken(token, { issuer: oidc.provider.issuer, jwks });
  if (!claims) return undefined;
  const { client_id: clientId, aud, iat: issuedAt, [grantClaim]: grantId } = claims;
  const asker = oidc.client as Asker;
  if (!(await markOutage(isTokensBusiness(dependencies.apis, asker.clientId, { clientId, aud })))) return undefined;
  if (grantId === undefined) return claims;
  const grant = await findGrantOfToken(oidc.provider, { grantId: String(grantId), clientId, issuedAt });
  const account = grant && (await markOutage(dependencies.accountClaims(grant.accountId)));
  return account && claims;
}
