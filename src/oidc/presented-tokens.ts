/**
 * Access tokens that a client presents to this server itself, as the subject or the actor of an exchange. One is good
 * here when introspection would call it active: signed or stored by us, for an API that its client may still use, and
 * with the grant and the account that it stands on.
 */
import type { AccessToken, ClientCredentials, KoaContextWithOIDC } from 'oidc-provider';
import type { ApiDirectory } from '../apis/api-directory.ts';
import type { Database } from '../db/database.ts';
import { decodeJwt } from '../keys/verify-jwt.ts';
import { findGrantOfToken, readJwtAccessToken } from './jwt-access-tokens.ts';
import { grantClaim } from './token-claims.ts';

export type PresentedTokenDependencies = {
  db: Database;
  apis: ApiDirectory;
  accountClaims: (sub: string) => Promise<object | undefined>;
  /** Our own published keys. */
  jwks: { keys: object[] };
};

export type PresentedToken = {
  /** The account, or the client that got the token for itself. */
  subject: string;
  /** What a person's token hangs on; a client's own hangs on nothing. */
  grantId: string | undefined;
  clientId: string;
  /** The API it is for. */
  audience: string;
  scopes: readonly string[];
  /** Seconds of the epoch. */
  expiresAt: number;
  /** Of a token in JWT form, where it is no credential. */
  id: string | undefined;
  jkt: string | undefined;
  x5t: string | undefined;
  act: Actor | undefined;
  mayAct: Actor | undefined;
};

export type Actor = { sub?: unknown; act?: Actor };

/** Undefined for what is no good access token, for whatever reason. */
export async function findPresentedToken(
  dependencies: PresentedTokenDependencies,
  ctx: KoaContextWithOIDC,
  value: string,
): Promise<PresentedToken | undefined> {
  const token = isJwt(value) ? await readJwt(dependencies, ctx, value) : await readStored(ctx, value);
  if (!token) return undefined;
  const access = await dependencies.apis.findAccess(token.clientId, [token.audience], { forPerson: true });
  const subject = access.length > 0 ? await findSubject(dependencies, ctx, token) : undefined;
  return subject === undefined ? undefined : { ...token, subject };
}

export function isJwt(value: string): boolean {
  return decodeJwt(value) !== undefined;
}

/** As read, `subject` is what the token says: of a person it may be a pseudonym for one client. */
type ReadToken = PresentedToken & { issuedAt?: number };

/** RFC 8693 §4.1, §4.4. */
type ActorClaims = { act?: Actor; may_act?: Actor };

async function readJwt(
  { jwks }: PresentedTokenDependencies,
  { oidc }: KoaContextWithOIDC,
  value: string,
): Promise<ReadToken | undefined> {
  const claims = await readJwtAccessToken(value, { issuer: oidc.provider.issuer, jwks });
  if (!claims) return undefined;
  const { cnf, [grantClaim]: grantId, scope = '' } = claims;
  const { act, may_act: mayAct } = claims as ActorClaims;
  return {
    subject: String(claims.sub),
    grantId: grantId === undefined ? undefined : String(grantId),
    clientId: String(claims.client_id),
    audience: claims.aud,
    scopes: String(scope).split(' ').filter(Boolean),
    issuedAt: Number(claims.iat),
    expiresAt: Number(claims.exp),
    id: String(claims.jti),
    jkt: cnf?.jkt,
    x5t: cnf?.['x5t#S256'],
    act,
    mayAct,
  };
}

async function readStored({ oidc }: KoaContextWithOIDC, value: string): Promise<ReadToken | undefined> {
  const { AccessToken, ClientCredentials } = oidc.provider;
  const token: AccessToken | ClientCredentials | undefined =
    (await AccessToken.find(value)) ?? (await ClientCredentials.find(value));
  if (!token?.clientId || typeof token.aud !== 'string') return undefined;
  const { exp = 0, extra } = token;
  if (exp <= Date.now() / 1000) return undefined;
  const { act, may_act: mayAct } = (extra ?? {}) as ActorClaims;
  return {
    subject: 'accountId' in token ? token.accountId : token.clientId,
    grantId: 'grantId' in token ? token.grantId : undefined,
    clientId: token.clientId,
    audience: token.aud,
    scopes: [...token.scopes],
    expiresAt: exp,
    id: undefined,
    jkt: token.jkt,
    x5t: token['x5t#S256'],
    act,
    mayAct,
  };
}

/** The account or client that the token is about, if it is there and may be used. */
async function findSubject(
  { accountClaims }: PresentedTokenDependencies,
  { oidc }: KoaContextWithOIDC,
  { subject, grantId, clientId, issuedAt }: ReadToken,
): Promise<string | undefined> {
  if (grantId === undefined) return (await oidc.provider.Client.find(subject)) && subject;
  const grant = await findGrantOfToken(oidc.provider, { grantId, clientId, issuedAt });
  return grant && (await accountClaims(grant.accountId)) && grant.accountId;
}
