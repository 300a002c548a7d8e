/**
 * 4. The provider, found through its discovery document, and this Worker as its client.
 */
import * as oauth from 'oauth4webapi';
import { createCopy } from './copy.ts';
import type { Env } from './environment.ts';

/** It did not answer, or only that it cannot now. Nobody is to blame, and it passes. */
export class ProviderAway extends Error {}

const timeoutMs = 5_000;

/** `fetch` that ends in time, and throws ProviderAway when the provider (or Cloudflare in its stead, 52x) cannot serve. */
export async function reach(url: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(timeoutMs) }).catch((error: unknown) => {
    throw new ProviderAway(`${new URL(url).pathname}: ${String(error)}`);
  });
  if (response.status < 500 && response.status !== 429) return response;
  await response.body?.cancel();
  throw new ProviderAway(`${new URL(url).pathname}: ${response.status}`);
}

/** What each call of oauth4webapi wants. Plain http only between two programs on one machine. */
export function optionsFor(env: Env) {
  const { protocol, hostname } = new URL(env.ISSUER);
  const onThisMachine = protocol === 'http:' && ['localhost', '127.0.0.1'].includes(hostname);
  return {
    [oauth.customFetch]: (url: string, init: object) => reach(url, init),
    [oauth.allowInsecureRequests]: onThisMachine,
  };
}

const metadata = createCopy<oauth.AuthorizationServer>({ freshMs: 3_600_000, usableMs: 86_400_000 });

/** RFC 8414 §3, OpenID Connect Discovery §4: what the document says of its issuer must be the issuer that was asked. */
export function discover(env: Env): Promise<oauth.AuthorizationServer> {
  return metadata.get(async () => {
    const issuer = new URL(env.ISSUER);
    return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, optionsFor(env)));
  });
}

export async function relyingParty(env: Env) {
  return {
    as: await discover(env),
    // The algorithm of ID tokens is ours to say, not the token's.
    client: { client_id: env.CLIENT_ID, id_token_signed_response_alg: 'RS256' },
    authentication: oauth.ClientSecretBasic(env.CLIENT_SECRET),
    options: optionsFor(env),
  };
}

/** What the provider said no with (RFC 6749 §5.2), or undefined when it was something else. */
export function refusalOf(error: unknown): string | undefined {
  if (error instanceof oauth.ResponseBodyError || error instanceof oauth.AuthorizationResponseError) return error.error;
  // An answer with `WWW-Authenticate`, which the token endpoint gives to a wrong secret.
  if (error instanceof oauth.WWWAuthenticateChallengeError) return 'invalid_client';
  return undefined;
}
