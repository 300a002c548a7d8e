/** What went wrong, as a sentence and a next step. The reason is in the words of the standard, for who is to look for it. */
import * as oauth from 'oauth4webapi';
import { issuer } from './provider.ts';
import { NoAnswerError } from './wire.ts';

export type Problem = { title: string; text: string };

/** Nobody is signed in here any more: the provider takes neither the access token nor a refresh token. */
export class SignedOutError extends Error {}

/** An answer came that nobody waits for: it was used before, or somebody else asked for it. */
export class NothingPendingError extends Error {}

/** `prompt=none` could not be answered without a page (OpenID Connect Core §3.1.2.6): nothing went wrong. */
const needsPage = ['login_required', 'consent_required', 'interaction_required', 'account_selection_required'];

export function problemOf(error: unknown): Problem {
  if (error instanceof SignedOutError) {
    return { title: 'You’re signed out here.', text: 'Your access ran out or was taken back. Sign in to go on.' };
  }
  if (error instanceof oauth.AuthorizationResponseError) {
    if (needsPage.includes(error.error)) {
      return { title: 'You’re not signed in there any more.', text: 'Sign in to go on.' };
    }
    if (error.error === 'access_denied') {
      return { title: 'You didn’t allow it.', text: 'This app learned nothing about you. You can sign in again.' };
    }
    return { title: `Latchkey answered ${error.error}.`, text: error.error_description ?? 'Sign in again.' };
  }
  if (error instanceof NoAnswerError) {
    return {
      title: 'Latchkey isn’t answering.',
      text: `Nothing good came back from ${issuer}. Wait a moment, then try again. If it’s yours, look whether it runs.`,
    };
  }
  if (error instanceof NothingPendingError) {
    return {
      title: 'This page isn’t waiting for that answer.',
      text: 'It was used before, or belongs to another tab. Nothing in it was used. Sign in to go on.',
    };
  }
  if (error instanceof oauth.ResponseBodyError) {
    return { title: `Latchkey answered ${error.error}.`, text: error.error_description ?? 'Sign in again.' };
  }
  if (error instanceof oauth.WWWAuthenticateChallengeError) {
    return { title: `Latchkey answered ${error.status}.`, text: 'The access token isn’t good any more.' };
  }
  if (error instanceof oauth.OperationProcessingError) {
    return { title: 'That answer isn’t one to trust.', text: `Nothing in it was used: ${error.message}.` };
  }
  return { title: 'Something broke in this app.', text: `${String(error)}. Load the page again.` };
}
