import { equalInConstantTime } from '../lib/hash.ts';
import { randomToken } from '../lib/random.ts';
import { clientId, postLogoutRedirectUri } from './client.ts';
import { isFull, type Run } from './run.ts';
import { check, type Site, withQuery } from './sign-in.ts';
import type { Step } from './steps.ts';

/** Adds an RP-initiated logout request to the run; undefined when nobody signed in, or there is no room. */
export function beginSignOut(run: Run, { origin }: Site): Run | undefined {
  const { endpoints, tokens } = run;
  if (!endpoints || !tokens || isFull(run)) return undefined;
  const logoutState = randomToken(16);
  const step: Step = {
    name: 'logout-request',
    url: endpoints.end_session_endpoint,
    parameters: [
      ['id_token_hint', tokens.id],
      ['client_id', clientId],
      ['post_logout_redirect_uri', postLogoutRedirectUri(origin)],
      ['state', logoutState],
    ],
  };
  return { ...run, logoutState, steps: [...run.steps, step] };
}

/** The address to send the browser to for the last logout request of the run. */
export function signOutUrl(run: Run): string | undefined {
  const request = run.steps.findLast((step) => step.name === 'logout-request');
  return request && withQuery(request.url, request.parameters);
}

/** Takes the browser's return from the sign-out into the run; undefined when it was not expected. */
export function endSignOut(run: Run, query: URLSearchParams, { origin }: Site): Run | undefined {
  const state = query.get('state');
  if (state === null || run.logoutState === undefined || !equalInConstantTime(state, run.logoutState)) return undefined;
  const step: Step = {
    name: 'logout-response',
    url: postLogoutRedirectUri(origin),
    parameters: [...query],
    checks: [check('state', true)],
  };
  return { ...run, logoutState: undefined, steps: [...run.steps, step] };
}
