import { scopeClaims } from '../oidc/scopes.ts';

/** One claim of an ID token in plain words; `ok` is undefined for a claim that nothing has to be compared with. */
export function explainClaim(name: string, claims: Readonly<Record<string, unknown>>, ok: boolean | undefined): string {
  const {
    means,
    good = '',
    bad = 'It isn’t what it has to be, so the token must not be used.',
  } = own(explanations, name)?.(claims) ?? fallback(name);
  const verdict = ok === undefined ? '' : ok ? good : bad;
  return verdict ? `${means} ${verdict}` : means;
}

/** A claim's value as text. */
export function claimText(value: unknown): string {
  if (Array.isArray(value)) return value.map(claimText).join(' ');
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);
}

/** Claims are named by whoever made the token: what every object inherits is not meant. */
function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

type Explanation = { means: string; good?: string; bad?: string };

const explanations: Readonly<Record<string, (claims: Readonly<Record<string, unknown>>) => Explanation>> = {
  iss: () => ({
    means: 'Who made this token.',
    good: 'It matches the address that was asked.',
    bad: 'It isn’t the address that was asked.',
  }),
  sub: () => ({ means: 'The person, as a name that never changes. An app stores this, not the email.' }),
  aud: () => ({
    means: 'Who it is for.',
    good: 'It names this app, so this app may use it.',
    bad: 'It doesn’t name this app, so this app must not use it.',
  }),
  azp: () => ({ means: 'The app that asked for it.', good: 'It is this one.' }),
  exp: ({ exp, iat }) => ({
    means: `Good until ${clock(exp)}${isSeconds(exp) && isSeconds(iat) ? `, ${duration(exp - iat)} after it was made` : ''}.`,
    bad: 'That has passed.',
  }),
  iat: ({ iat }) => ({ means: `When it was made: ${clock(iat)}.` }),
  auth_time: ({ auth_time }) => ({ means: `When the person last proved who they are: ${clock(auth_time)}.` }),
  nonce: () => ({
    means: 'Sent along when the sign-in was asked for.',
    good: 'It came back unchanged, which ties the token to that request.',
    bad: 'It isn’t what was sent, so this token belongs to another request.',
  }),
  at_hash: () => ({
    means: 'A fingerprint of an access token.',
    good: 'It fits the one that came along.',
    bad: 'It doesn’t fit the one that came along.',
  }),
  amr: ({ amr }) => ({ means: `How they proved it: ${[amr].flat().map(methodWords).join(', ')}.` }),
  acr: () => ({ means: 'How sure the server is that it’s them.' }),
  sid: () => ({ means: 'The session in the person’s browser, so that a sign-out can name it.' }),
  jti: () => ({ means: 'The token’s own name.' }),
};

function fallback(name: string): Explanation {
  const scope = Object.keys(scopeClaims).find((key) => scopeClaims[key]?.includes(name));
  return { means: scope ? `Here because the person allowed “${scope}”.` : 'Something this server adds.' };
}

/** RFC 8176. */
const methods: Readonly<Record<string, string>> = {
  pwd: 'a password',
  otp: 'a one-time code',
  mfa: 'more than one way together',
  hwk: 'a key in a device',
  swk: 'a key in software',
  pop: 'a passkey',
  user: 'being there in person',
  pin: 'a PIN',
};

function methodWords(method: unknown): string {
  return own(methods, String(method)) ?? String(method);
}

function isSeconds(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && Math.abs(value) < 8e12;
}

function clock(value: unknown): string {
  if (!isSeconds(value)) return 'no readable time';
  return `${new Date(value * 1000).toISOString().slice(11, 19)} UTC`;
}

/** Seconds in the largest unit that divides them. */
function duration(seconds: number): string {
  const [unit, size] = units.find(([, length]) => seconds >= length && seconds % length === 0) ?? ['second', 1];
  const count = seconds / size;
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}

const units: readonly (readonly [string, number])[] = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
];
