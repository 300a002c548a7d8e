/** What RFC 8693 and the operator allow of an exchange, as errors for what they do not. */
import { type Client, errors, type KoaContextWithOIDC } from 'oidc-provider';
import type { ApiAccess } from '../apis/api-directory.ts';
import type { ExchangeMode } from '../apis/token-exchange-permissions.ts';
import type { Actor, PresentedToken } from './presented-tokens.ts';

/** RFC 8693 §3. */
const accessToken = 'urn:ietf:params:oauth:token-type:access_token';
export const jwt = 'urn:ietf:params:oauth:token-type:jwt';
export const tokenTypes = [accessToken, jwt];

/** A token that was handed on more often than this went round in circles. */
const longestChain = 8;

export type ExchangeParameters = Partial<Record<string, string>> & {
  resource?: string | string[] | undefined;
  audience?: string | string[] | undefined;
};

export type ExchangeRequest = { targetApi: string; issuedTokenType: string; hasActor: boolean };

/** RFC 8693 §2.1. */
export function readRequest({ oidc }: KoaContextWithOIDC, client: Client): ExchangeRequest {
  if (client.clientAuthMethod === 'none') throw new errors.UnauthorizedClient('public clients cannot exchange tokens');
  const {
    actor_token,
    actor_token_type,
    requested_token_type = accessToken,
    resource,
    audience,
  } = oidc.params as ExchangeParameters;
  if ((actor_token === undefined) !== (actor_token_type === undefined)) {
    throw new errors.InvalidRequest('actor_token and actor_token_type belong together');
  }
  if (!tokenTypes.includes(requested_token_type)) {
    throw new errors.InvalidRequest('requested_token_type must be that of an access token or a JWT');
  }
  const targets = [...new Set([resource ?? [], audience ?? []].flat())];
  const [targetApi] = targets;
  if (targetApi === undefined)
    throw new errors.InvalidRequest('name the API that the token is for: resource or audience');
  if (targets.length > 1) throw new errors.InvalidTarget('a token is for one API');
  return { targetApi, issuedTokenType: requested_token_type, hasActor: actor_token !== undefined };
}

/** Who brings an actor wants to delegate; without one the client is itself the actor, where it may not impersonate. */
export function chooseMode(permitted: readonly ExchangeMode[], hasActor: boolean): ExchangeMode {
  const wanted: readonly ExchangeMode[] = hasActor ? ['delegation'] : ['impersonation', 'delegation'];
  const mode = wanted.find((one) => permitted.includes(one));
  if (!mode) throw new errors.UnauthorizedClient('this exchange is not permitted to this client');
  return mode;
}

/**
 * The `act` claim of the new token (RFC 8693 §4.1): who acts now, and inside it who did before. Impersonation adds
 * nobody, and takes nobody away. When the subject's token says who may act for it (§4.4), nobody else does.
 */
export function actorOf(
  client: Client,
  mode: ExchangeMode,
  { act: before, mayAct }: PresentedToken,
  actor: PresentedToken | undefined,
): Actor | undefined {
  // A token that others hold too would let a client act in the name of anybody who ever called it.
  if (actor && (actor.clientId !== client.clientId || actor.act)) {
    throw new errors.InvalidRequest('actor_token must be one that was issued to this client, for whom it is about');
  }
  if (actor?.grantId && client.subjectType === 'pairwise') {
    throw new errors.InvalidRequest('a client with pairwise subjects cannot name a person as the actor');
  }
  const sub = actor?.subject ?? client.clientId;
  if (mayAct !== undefined && mayAct?.sub !== sub) {
    throw new errors.UnauthorizedClient('the subject token names somebody else who may act');
  }
  const act = mode === 'impersonation' ? before : { sub, ...(before && { act: before }) };
  if (lengthOf(act) > longestChain) throw new errors.InvalidRequest('the token was handed on too often');
  return act;
}

function lengthOf(act: Actor | undefined): number {
  return act ? 1 + lengthOf(act.act) : 0;
}

/** Those that were asked for, or all that the client may have there. For the same API also no more than the token had. */
export function chooseScopes({ oidc }: KoaContextWithOIDC, access: ApiAccess, subject: PresentedToken): string[] {
  const sameApi = access.identifier === subject.audience;
  const possible = Object.keys(access.scopes).filter((scope) => !sameApi || subject.scopes.includes(scope));
  const asked = [...oidc.requestParamScopes].filter(Boolean);
  const unknown = asked.find((scope) => !possible.includes(scope));
  if (unknown !== undefined) throw new errors.InvalidScope('the scope is unknown, or not for this client', unknown);
  return asked.length > 0 ? asked : possible;
}
