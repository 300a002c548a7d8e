/**
 * Step-up: when a session is good and yet not good enough for what a client asks. A wish (`acr_values`, or `acr` in the
 * claims parameter) is met where the person can; what is essential, and what the client's registration requires, is met
 * or refused (OIDC Core §5.5.1.1, RFC 9470). The questions are put by interactions/.
 */
import { errors, interactionPolicy, type KoaContextWithOIDC } from 'oidc-provider';
import { hasSecondFactor } from '../accounts/second-factors.ts';
import type { Database } from '../db/database.ts';
import { acrValues, meetsAcr, multiFactor } from './acr.ts';
import { markOutage } from './outage.ts';

/** Why somebody who is signed in is asked for more. All of them are answered by a second factor. */
export const stepUpReasons = ['second_factor_required', 'acr_required', 'acr_wanted'] as const;

type Reason = (typeof stepUpReasons)[number];
type AcrRequest = { essential?: unknown; value?: unknown; values?: unknown };

/** The checks of the login prompt about `acr`; the library's own know no order of values, and go. */
export function addStepUp(login: interactionPolicy.Prompt, db: Database): void {
  login.checks.remove('essential_acrs');
  login.checks.remove('essential_acr');
  const { Check: LibraryCheck } = interactionPolicy;
  const add = (reason: Reason | 'unmet_acr', text: string, error: string, check: interactionPolicy.Check['check']) =>
    login.checks.add(new LibraryCheck(reason, text, error, check));

  add('unmet_acr', 'the requested acr cannot be met', 'unmet_authentication_requirements', refuseUnknownAcr);
  add('second_factor_required', 'two factors are required', 'login_required', ({ oidc }) =>
    oidc.client?.require_second_factor === true || oidc.account?.administrator === true
      ? !isMet(oidc, [multiFactor])
      : false,
  );
  add('acr_required', 'the requested acr is not met', 'unmet_authentication_requirements', ({ oidc }) => {
    const { essential, wanted } = readAcr(oidc);
    if (!essential || wanted.length === 0) return false;
    if (!isMet(oidc, wanted)) return true;
    answerAsAsked(oidc, wanted);
    return false;
  });
  add('acr_wanted', 'a better acr is wished for', 'login_required', async ({ oidc }) => {
    const { essential, wanted } = readAcr(oidc);
    const [first] = wanted.filter((each) => acrValues.includes(each));
    // Nobody can be asked, and it is only a wish.
    if (essential || first === undefined || isMet(oidc, [first]) || oidc.prompts.has('none')) return false;
    const { accountId } = oidc.session ?? {};
    return accountId === undefined || markOutage(hasSecondFactor(db, accountId));
  });
}

function readAcr({ claims }: KoaContextWithOIDC['oidc']): { essential: boolean; wanted: string[] } {
  const { essential, value, values }: AcrRequest = claims?.id_token?.acr ?? {};
  const wanted = [value, values].flat().filter((each) => each !== undefined);
  return { essential: essential === true, wanted: wanted.map(String) };
}

/** Asking somebody to sign in again could not bring it. */
function refuseUnknownAcr({ oidc }: KoaContextWithOIDC): boolean {
  const { essential, wanted } = readAcr(oidc);
  if (!essential || wanted.length === 0 || wanted.some((each) => acrValues.includes(each))) return false;
  throw new errors.UnmetAuthenticationRequirements('none of the requested acr values is supported');
}

function isMet({ session }: KoaContextWithOIDC['oidc'], wanted: string[]): boolean {
  return session?.accountId !== undefined && meetsAcr(session.acr, wanted);
}

/** OIDC Core §5.5.1.1: the answer to an essential `acr` is one of the requested values, also when it is less than true. */
function answerAsAsked(oidc: KoaContextWithOIDC['oidc'], wanted: string[]): void {
  const held = oidc.session?.acr;
  if (held === undefined || wanted.includes(held)) return;
  const best = acrValues.findLast((each) => wanted.includes(each) && meetsAcr(held, [each]));
  Object.defineProperty(oidc, 'acr', { value: best, configurable: true });
}
