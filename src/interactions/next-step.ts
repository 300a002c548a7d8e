/**
 * Interactions: the questions between an authorization request and its answer. Steps do not know each other; each one
 * changes what is stored and comes back here, and this one function reads the state and picks the next.
 */
import type { PendingInteraction } from '../oidc/interactions.ts';
import { stepUpReasons } from '../oidc/step-up.ts';

export type Step =
  | 'sign-in'
  /** The person of this session has to show a second factor, … */
  | 'second-factor'
  /** … and has none yet. */
  | 'set-up'
  | 'consent'
  /** Somebody signed in meanwhile, in another tab: nothing needs to be asked again. */
  | 'continue-as-signed-in';

export type SignedInPerson = {
  accountId: string;
  /** Whether this session has shown two factors. */
  multiFactor: boolean;
  /** Whether it began within the last minutes: then the first factor need not be shown again. */
  recent: boolean;
  /** Whether the account has a second factor to show. */
  hasSecondFactor: boolean;
};

export function nextStep(
  { prompt, accountId }: Pick<PendingInteraction, 'prompt' | 'accountId'>,
  signedIn: SignedInPerson | undefined,
): Step {
  if (prompt.name === 'consent') return 'consent';
  const stepUp = prompt.reasons.filter((reason) => isStepUp(reason));
  const onlyLacksThat = prompt.reasons.every((reason) => reason === 'no_session' || isStepUp(reason));
  const samePerson = accountId === undefined || accountId === signedIn?.accountId;
  if (!signedIn || !onlyLacksThat || !samePerson) return 'sign-in';
  const { multiFactor, recent, hasSecondFactor } = signedIn;
  const onlyWished = stepUp.every((reason) => reason === 'acr_wanted');
  if (multiFactor || (onlyWished && !(stepUp.length > 0 && hasSecondFactor))) return 'continue-as-signed-in';
  if (!recent) return 'sign-in';
  return hasSecondFactor ? 'second-factor' : 'set-up';
}

function isStepUp(reason: string): boolean {
  return (stepUpReasons as readonly string[]).includes(reason);
}
