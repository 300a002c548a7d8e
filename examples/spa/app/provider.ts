/**
 * What every request to the provider has in common: who this app is, how addresses are found (OpenID Connect
 * Discovery 1.0), and the second try with a nonce (RFC 9449 §8).
 */
import * as oauth from 'oauth4webapi';
import { recordingFetch } from './wire.ts';

/** Written into the bundle by serve.ts. */
declare const ISSUER: string;
declare const CLIENT_ID: string;

export const issuer = ISSUER;

/** The ID token's algorithm is the registered one; a token that names another is refused. */
export const client: oauth.Client = { client_id: CLIENT_ID, id_token_signed_response_alg: 'ES256' };

/** No secret: the client is public, and PKCE takes its place. */
export const authentication = oauth.None();

export const redirectUri = `${location.origin}/callback`;
export const signedOutUri = `${location.origin}/signed-out`;

/** Goes with every call of the library. Plain http is for a provider on this machine; serve.ts sees to that. */
export const options = {
  [oauth.customFetch]: recordingFetch,
  [oauth.allowInsecureRequests]: issuer.startsWith('http:'),
};

export type Provider = oauth.AuthorizationServer;

/** Asks the provider where everything is. Each time: the browser is then never sent to a server that is not there. */
export async function discover(): Promise<Provider> {
  const answer = await oauth.discoveryRequest(new URL(issuer), options);
  return oauth.processDiscoveryResponse(new URL(issuer), answer);
}

/**
 * Sends a request with a proof, and once more when the provider wants its nonce in it. The library keeps the nonce that
 * came with the refusal, so the second proof has it.
 */
export async function withNonce<T>(send: () => Promise<Response>, read: (answer: Response) => Promise<T>): Promise<T> {
  try {
    return await read(await send());
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return read(await send());
  }
}
