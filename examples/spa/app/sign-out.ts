/** Chapter 6: signing out. Here, of what the provider gave for longer, and then at the provider (RP-Initiated Logout 1.0). */
import * as oauth from 'oauth4webapi';
import { keepSignOut, takeSignedIn } from './pending.ts';
import { authentication, client, discover, options, signedOutUri } from './provider.ts';
import { forget } from './session.ts';
import { step } from './steps.ts';

/**
 * Forgets the session, and sends the browser to the provider, where the person says whether that one ends as well.
 * The order matters: when the provider does not answer, this app has forgotten everything already.
 */
export async function signOut(): Promise<void> {
  const ended = forget();
  takeSignedIn();
  if (!ended) return;
  const { refreshToken, idToken } = ended;
  const provider = await step('discovery', () => discover());
  if (refreshToken !== undefined) {
    // It would outlive the person's session at the provider: that is what it is for (RFC 7009).
    await step('revocation', async () => {
      const answer = await oauth.revocationRequest(provider, client, authentication, refreshToken, options);
      await oauth.processRevocationResponse(answer);
    });
  }
  const state = oauth.generateRandomState();
  const request = new URL(provider.end_session_endpoint ?? '');
  request.searchParams.set('id_token_hint', idToken);
  request.searchParams.set('post_logout_redirect_uri', signedOutUri);
  request.searchParams.set('state', state);
  keepSignOut(state);
  location.assign(request);
}
