/**
 * Chapter 10: being told. A person may sign out at the provider, or end this browser from another one; our session would go on
 * knowing nothing. So the provider tells us, from server to server (OpenID Connect Back-Channel Logout 1.0): it posts a logout
 * token, a signed JWT that names a session (`sid`), a person (`sub`), or both.
 *
 * Anybody can reach this address, so nothing counts before every check of §2.6 has passed.
 */
import type { Request, Response } from 'express';
import { createRemoteJWKSet, customFetch, errors, type JWTPayload, jwtVerify } from 'jose';
import { askProvider } from './ask-provider.ts';
import { provider } from './provider.ts';
import { endSessionsWhere } from './session.ts';
import { issuer } from './settings.ts';
import { ShortMemory } from './short-memory.ts';

const event = 'http://schemas.openid.net/event/backchannel-logout';
const minute = 60_000;

/** Fetched when needed, and again when a token names a key that is not among them: keys rotate. */
const keys = createRemoteJWKSet(new URL(provider.serverMetadata().jwks_uri as string), {
  [customFetch]: askProvider,
  cacheMaxAge: 5 * minute,
});

/** Logout tokens that we acted on, for as long as one could come again. */
const seen = new ShortMemory<true>({ lifetime: 6 * minute, limit: 10_000 });

/** `POST /backchannel-logout` with `logout_token=…`. 200: ended, also when there was nothing to end. 400: not a logout token. */
export async function takeLogoutToken(req: Request, res: Response): Promise<void> {
  res.set('cache-control', 'no-store');
  try {
    const { sid, sub } = await verify((req.body as Record<string, unknown> | undefined)?.logout_token);
    endSessionsWhere(
      (session) => (sid === undefined || session.sid === sid) && (sub === undefined || session.sub === sub),
    );
    res.sendStatus(200);
  } catch (error) {
    // What is not the token's fault, such as keys that could not be fetched, is answered by 503, and the provider tries again.
    if (!(error instanceof errors.JOSEError)) throw error;
    res.status(400).json({ error: 'invalid_request', error_description: error.message });
  }
}

async function verify(token: unknown): Promise<JWTPayload> {
  const { payload } = await jwtVerify(typeof token === 'string' ? token : '', keys, {
    issuer,
    audience: provider.clientMetadata().client_id,
    algorithms: ['RS256'],
    // An ID token is signed with the same key, for the same audience. Its type is another.
    typ: 'logout+jwt',
    requiredClaims: ['iat', 'exp', 'jti'],
    maxTokenAge: '5 minutes',
    clockTolerance: 30,
  });
  const { events, sid, sub, jti } = payload;
  const refuse = (reason: string) => new errors.JWTClaimValidationFailed(reason, payload);
  if (typeof (events as Record<string, unknown> | undefined)?.[event] !== 'object') throw refuse('not a logout event');
  if ('nonce' in payload) throw refuse('a logout token has no nonce');
  if (typeof sid !== 'string' && typeof sub !== 'string') throw refuse('nobody is named');
  // Sent again, it would end what the person has started since.
  if (seen.get(jti as string)) throw refuse('seen before');
  seen.set(jti as string, true);
  return payload;
}
