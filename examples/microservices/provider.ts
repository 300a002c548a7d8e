/**
 * Latchkey, as each program knows it: found by discovery (RFC 8414), and asked three things. Every answer is either
 * what was asked for, or a refusal, which asking again does not change, or nothing at all: then later helps.
 */
import * as oidc from 'openid-client';
import { notNow, Problem } from './problems.ts';

export const issuer = process.env.ISSUER ?? 'http://localhost:3000/oidc';

export type Provider = oidc.Configuration;
export type Wish = { resource: string; scope: string };

/** Reads the discovery document; from then on its addresses are used with these credentials. */
export async function findProvider(credentials: { client_id: string; client_secret: string }): Promise<Provider> {
  const url = new URL(issuer);
  // A secret over plain http is for one's own machine; everywhere else openid-client insists on https.
  const isLocal = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  return oidc.discovery(url, credentials.client_id, {}, oidc.ClientSecretBasic(credentials.client_secret), {
    timeout: 5,
    execute: isLocal ? [oidc.allowInsecureRequests] : [],
  });
}

/** A token for the program itself (RFC 6749 §4.4). */
export function requestToken(provider: Provider, wish: Wish) {
  return answerOf(oidc.clientCredentialsGrant(provider, wish));
}

/** A token for the next API, about whoever the given one is about, that says who acts (RFC 8693). */
export function exchangeToken(provider: Provider, subjectToken: string, wish: Wish) {
  return answerOf(
    oidc.genericGrantRequest(provider, 'urn:ietf:params:oauth:grant-type:token-exchange', {
      subject_token: subjectToken,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      ...wish,
    }),
  );
}

/** Is this token good now (RFC 7662)? */
export function introspectToken(provider: Provider, token: string) {
  return answerOf(oidc.tokenIntrospection(provider, token));
}

/** Latchkey's no, with its reason: `invalid_client`, `invalid_target`, `invalid_scope`, … (RFC 6749 §5.2). */
export class Refusal extends Problem {
  constructor(error: string) {
    super(502, error, `Latchkey refuses: ${error}`);
  }
}

async function answerOf<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof oidc.ResponseBodyError && error.status !== 429) throw new Refusal(error.error);
    // Wrong credentials are answered with a challenge.
    if (error instanceof oidc.WWWAuthenticateChallengeError) throw new Refusal('invalid_client');
    throw notNow('Latchkey', issuer, error);
  }
}
