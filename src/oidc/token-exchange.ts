/**
 * OAuth 2.0 Token Exchange (RFC 8693): a service that was called with a token for its API gets one for the next API, for
 * the same subject. Off until the operator permits a client, one API and another (apis/token-exchange-permissions.ts).
 * The new token never allows more than the client itself may do there, and never outlives the one it was made of. Every
 * exchange is recorded before its token leaves, and so is every refusal.
 */
import { type AccessToken, type Client, errors, type KoaContextWithOIDC, type Provider } from 'oidc-provider';
import type { ApiAccess, ApiDirectory } from '../apis/api-directory.ts';
import { isResource } from '../apis/api-rules.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { deriveGrant } from './derived-grants.ts';
import {
  actorOf,
  chooseMode,
  chooseScopes,
  type ExchangeParameters,
  type ExchangeRequest,
  jwt,
  readRequest,
  tokenTypes,
} from './exchange-rules.ts';
import type { MutualTls } from './mtls.ts';
import { markOutage } from './outage.ts';
import { findPresentedToken, isJwt, type PresentedToken, type PresentedTokenDependencies } from './presented-tokens.ts';
import { requestSource } from './request-source.ts';
import { resourceServer } from './resource-servers.ts';
import { bindTo, findProvenKeys, type ProvenKeys, requireKeysOf } from './sender-constraints.ts';

export type TokenExchangeDependencies = PresentedTokenDependencies & { mtls?: MutualTls | undefined };

const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange';

const parameters = [
  ...['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type'],
  ...['requested_token_type', 'resource', 'audience', 'scope'],
];

export function registerTokenExchange(provider: Provider, dependencies: TokenExchangeDependencies): void {
  provider.registerGrantType(
    tokenExchange,
    (ctx) => markOutage(exchangeOrRefuse(dependencies, ctx as KoaContextWithOIDC)),
    parameters,
    ['resource', 'audience'],
  );
}

/** What is known of a request so far, for the record of it. */
type Facts = { accountId?: string | undefined; details: Record<string, unknown> };

async function exchangeOrRefuse(dependencies: TokenExchangeDependencies, ctx: KoaContextWithOIDC): Promise<void> {
  const facts: Facts = { details: {} };
  try {
    await exchange(dependencies, ctx, facts);
  } catch (refusal) {
    if (refusal instanceof errors.OIDCProviderError && refusal.statusCode < 500) {
      const { error, error_description, error_detail } = refusal;
      const details = { ...facts.details, error, reason: error_detail ?? error_description };
      await record(dependencies.db, { ...about(ctx, facts), event: 'token.exchange-refused', details });
    }
    throw refusal;
  }
}

async function exchange(dependencies: TokenExchangeDependencies, ctx: KoaContextWithOIDC, facts: Facts): Promise<void> {
  const client = ctx.oidc.client as Client;
  const request = readRequest(ctx, client);
  if (isResource(request.targetApi)) facts.details.target_api = request.targetApi.slice(0, 255);
  const keys = await findProvenKeys(ctx, dependencies.mtls);

  const subject = await requireToken(dependencies, ctx, 'subject_token', keys);
  if (subject.grantId) facts.accountId = subject.subject;
  else facts.details.subject = subject.subject;
  Object.assign(facts.details, {
    subject_api: subject.audience,
    subject_client: subject.clientId,
    subject_jti: subject.id,
  });
  const actor = request.hasActor ? await requireToken(dependencies, ctx, 'actor_token', keys) : undefined;

  const access = await requireTarget(dependencies.apis, client, request);
  const { clientId } = client;
  const permission = { clientId, subjectApi: subject.audience, targetApi: access.identifier };
  const mode = chooseMode(await dependencies.apis.findExchangeModes(permission), request.hasActor);
  const act = actorOf(client, mode, subject, actor);
  const scope = chooseScopes(ctx, access, subject).join(' ');
  Object.assign(facts.details, { mode, act, scope });

  const now = Math.floor(Date.now() / 1000);
  const token = new ctx.oidc.provider.AccessToken({
    client,
    accountId: subject.subject,
    resourceServer: new ctx.oidc.provider.ResourceServer(access.identifier, resourceServer(access)),
    scope: scope || undefined,
    gty: 'token_exchange',
    exp: Math.min(subject.expiresAt, now + access.tokenLifetimeSeconds),
    ...(act && { extra: { act } }),
  } as unknown as ConstructorParameters<typeof AccessToken>[0]);
  bindTo(token, keys, subject);
  await approve(dependencies.db, ctx, subject, token, facts);

  ctx.oidc.entity('AccessToken', token);
  ctx.body = {
    access_token: await token.save(),
    issued_token_type: request.issuedTokenType,
    token_type: token.tokenType,
    expires_in: (token.exp ?? now) - now,
    scope,
  };
}

/** The last check and the record, in one: a subject whose grant has just ended gets no token, and one that has a record. */
async function approve(
  db: Database,
  ctx: KoaContextWithOIDC,
  { subject, grantId: originId }: PresentedToken,
  token: AccessToken,
  facts: Facts,
): Promise<void> {
  token.jti = (token as unknown as { generateTokenId(): string }).generateTokenId();
  // Of an opaque token the id is the token.
  if (token.resourceServer?.accessTokenFormat === 'jwt') facts.details.jti = token.jti;
  await db.transaction(async (tx) => {
    if (originId) {
      const origin = {
        originId,
        accountId: subject,
        clientId: token.clientId as string,
        expiresAt: token.exp as number,
      };
      const grantId = await deriveGrant(tx, origin);
      if (!grantId) throw notGood('subject_token');
      token.grantId = grantId;
    }
    await record(tx, { ...about(ctx, facts), event: 'token.exchanged', details: facts.details });
  });
}

function about(ctx: KoaContextWithOIDC, { accountId }: Facts) {
  return { accountId, clientId: ctx.oidc.client?.clientId, source: requestSource(ctx) };
}

/**
 * The token that a parameter holds. RFC 8693 §2.2.2: whatever is wrong with it is `invalid_request`, and a stranger is
 * not told what.
 */
async function requireToken(
  dependencies: TokenExchangeDependencies,
  ctx: KoaContextWithOIDC,
  name: 'subject_token' | 'actor_token',
  keys: ProvenKeys,
): Promise<PresentedToken> {
  const { [name]: value, [`${name}_type`]: type } = ctx.oidc.params as ExchangeParameters;
  if (value === undefined || type === undefined)
    throw new errors.InvalidRequest(`${name} and ${name}_type are required`);
  if (!tokenTypes.includes(type))
    throw new errors.InvalidRequest(`${name}_type must be that of an access token or a JWT`);
  const token = type === jwt && !isJwt(value) ? undefined : await findPresentedToken(dependencies, ctx, value);
  if (!token) throw notGood(name);
  requireKeysOf(token, keys);
  return token;
}

function notGood(name: string): errors.InvalidRequest {
  return new errors.InvalidRequest(`${name} is not an access token that is good for this`);
}

async function requireTarget(apis: ApiDirectory, client: Client, request: ExchangeRequest): Promise<ApiAccess> {
  const [access] = await apis.findAccess(client.clientId, [request.targetApi]);
  if (!access) throw new errors.InvalidTarget('the API is unknown, or not for this client');
  if (request.issuedTokenType === jwt && access.tokenFormat !== 'jwt') {
    throw new errors.InvalidRequest('tokens for this API are not in JWT form');
  }
  return access;
}
