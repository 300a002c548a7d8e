/** How long the keys of the ring do what. In one place, because each of these is safe only next to the others. */
const minute = 60;
const day = 24 * 60 * minute;

/** How long anybody may keep JWKS and discovery (Cache-Control `max-age`). */
export const jwksMaxAgeSeconds = 5 * minute;

/**
 * A key is published for at least this long before it signs (OIDC Core §10.1.1): as long as caches hold an older JWKS, and
 * then some for clocks that differ, for an instance that was slow to follow and for caches that take the hint loosely.
 */
export const publishedBeforeUseSeconds = jwksMaxAgeSeconds + 10 * minute;

/** A key signs this long before its successor takes over by itself. */
export const signsForSeconds = 90 * day;

/**
 * A retired key verifies at least this long: an ID token comes back as `id_token_hint` for as long as the session that it
 * tells of may live. Tokens that live longer, of some API, prolong it.
 */
export const verifiesForSeconds = 30 * day;

/** `seconds` after `date`. */
export function after(date: Date, seconds: number): Date {
  return new Date(date.getTime() + seconds * 1000);
}
