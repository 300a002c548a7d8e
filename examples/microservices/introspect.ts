/**
 * Verification by asking Latchkey about each token (RFC 7662). One request more, and none is answered while Latchkey is
 * away; in return access that was taken back ends at once. Use it where a mistake costs more than a millisecond.
 */
import type { Check, Claims } from './bearer.ts';
import { invalidToken } from './problems.ts';
import { introspectToken, type Provider } from './provider.ts';

/** A check of tokens for one API, by a client that may introspect them: `apis allow … --introspect`. */
export function askLatchkey(provider: Provider, audience: string): Check {
  return async (token) => {
    const answer = await introspectToken(provider, token);
    if (!answer.active) throw invalidToken('the token is not active');
    // A client may also ask about tokens of its own, which need not be for its API.
    if (answer.aud !== audience) throw invalidToken('the token is for another API');
    // Neither a refresh token, which has no type, nor one that is bound to a key.
    if (answer.token_type !== 'Bearer') throw invalidToken('the token is not a bearer token');
    return answer as unknown as Claims;
  };
}
