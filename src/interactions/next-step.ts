/**
 * Interactions: the questions between an authorization request and its answer. Steps do not know each other; each one
 * changes what is stored and comes back here, and this one function reads the state and picks the next.
 */
import type { PendingInteraction } from '../oidc/interactions.ts';

export type Step =
  | 'sign-in'
  | 'consent'
  /** Somebody signed in meanwhile, in another tab: nothing needs to be asked again. */
  | 'continue-as-signed-in';

export function nextStep(
  { prompt, accountId }: Pick<PendingInteraction, 'prompt' | 'accountId'>,
  signedInAs: string | undefined,
): Step {
  if (prompt.name === 'consent') return 'consent';
  const onlyLackedSession = prompt.reasons.every((reason) => reason === 'no_session');
  return onlyLackedSession && accountId === undefined && signedInAs !== undefined ? 'continue-as-signed-in' : 'sign-in';
}
