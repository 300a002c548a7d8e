/**
 * How sure the server is of who signed in, in words that clients may ask for (`acr_values`, `acr` in the claims
 * parameter) and read in ID tokens. A second factor brings another name here and another line in `acrOf`.
 */
import { errors, interactionPolicy, type KoaContextWithOIDC } from 'oidc-provider';

const password = 'urn:latchkey:acr:pwd';

/** What can be had today, the weakest first. */
export const acrValues: readonly string[] = [password];

/** The `acr` of a sign-in by these methods (RFC 8176 `amr`). */
export function acrOf(amr: readonly string[]): string | undefined {
  return amr.includes('pwd') ? password : undefined;
}

type AcrRequest = { essential?: unknown; value?: unknown; values?: unknown };

/**
 * Refuses a request whose essential `acr` (OIDC Core §5.5.1.1) is none of ours: asking somebody to sign in again could
 * not bring it. Voluntary ones are answered with the `acr` that there is.
 */
export function unmetAcrCheck(): interactionPolicy.Check {
  return new interactionPolicy.Check('unmet_acr', 'the requested acr cannot be met', (ctx: KoaContextWithOIDC) => {
    const { essential, value, values }: AcrRequest = ctx.oidc.claims?.id_token?.acr ?? {};
    const wanted = [value, values].flat().filter((each) => each !== undefined);
    if (essential !== true || wanted.length === 0 || wanted.some((each) => acrValues.includes(String(each))))
      return false;
    throw new errors.UnmetAuthenticationRequirements('none of the requested acr values is supported');
  });
}
