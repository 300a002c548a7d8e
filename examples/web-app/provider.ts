/**
 * Chapter 2: the app gets to know the provider. Its discovery document names every endpoint (OpenID Connect Discovery 1.0),
 * so that the issuer is all we have to be told. `openid-client` does the protocol from here on; the checks that it makes
 * for us are named where they matter.
 */
import * as openid from 'openid-client';
import { askProvider, isUnavailable, patience } from './ask-provider.ts';
import { findClient } from './registration.ts';
import { giveUp, issuer, onThisMachine } from './settings.ts';

/** Endpoints, client and secret in one. */
export const provider = await meet().catch((error: Error) => {
  if (isUnavailable(error)) {
    giveUp(
      `Latchkey does not answer at ${issuer}. Start it ("npm start" in its folder), or set ISSUER to where it is.`,
    );
  }
  giveUp(`Latchkey at ${issuer} cannot be used: ${error.message}`);
});

async function meet(): Promise<openid.Configuration> {
  // Before we tell it anything about us: is it who we take it for?
  const discovery = await askProvider(`${issuer}/.well-known/openid-configuration`, {});
  const { issuer: named } = discovery.ok ? ((await discovery.json().catch(() => ({}))) as { issuer?: unknown }) : {};
  if (named !== issuer) giveUp(`${issuer} answers, but is not that issuer. Is ISSUER right?`);
  const { client_id, client_secret } = await findClient();
  // RS256 and nothing else is taken for an ID token: whoever makes a token must not choose how it is checked.
  const metadata = { id_token_signed_response_alg: 'RS256', require_auth_time: true };
  const authentication = openid.ClientSecretBasic(client_secret);
  return openid.discovery(new URL(issuer), client_id, metadata, authentication, {
    [openid.customFetch]: (url, options) => askProvider(url, options as RequestInit),
    timeout: patience,
    execute: [
      // ID tokens come straight from the provider, over TLS; their signature is checked all the same.
      openid.enableNonRepudiationChecks,
      ...(onThisMachine ? [openid.allowInsecureRequests] : []),
    ],
  });
}
