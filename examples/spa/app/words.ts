/** What each step is for, and what each claim of an ID token means, for somebody who reads it for the first time. */

type Words = { title: string; text: string };

export const stepWords = {
  discovery: {
    title: 'Find the addresses',
    text: 'One well-known address says where everything else is. The app knows the issuer and its own client id, and nothing more.',
  },
  request: {
    title: 'Ask for a sign-in',
    text: 'The browser went there with a fingerprint of a secret that this tab kept: the code verifier (PKCE).',
  },
  response: {
    title: 'Come back with an answer',
    text: 'It has to carry the state that this tab sent, and the issuer’s name. The page has taken it out of the address bar.',
  },
  key: {
    title: 'Make a key',
    text: 'The tokens will be good together with it only. No script can read its private half, this page’s own included.',
  },
  token: {
    title: 'Swap the code for tokens',
    text: 'With the verifier, and a proof signed by the key. The first proof lacks the server’s nonce, so it’s asked for again.',
  },
  'id-token': {
    title: 'Read the ID token',
    text: 'It says who signed in, to whom, and how. The signature is checked with the server’s public keys.',
  },
  userinfo: {
    title: 'Ask who they are',
    text: 'The access token and a fresh proof open the userinfo address, which shows what the person allowed.',
  },
  refresh: {
    title: 'Get new tokens',
    text: 'The refresh token is used up, and its successor comes along. Both are bound to the same key.',
  },
  'without-key': {
    title: 'Try the token without the key',
    text: 'What a thief would do who got hold of the access token, but can’t sign with a key that never left this page.',
  },
  revocation: {
    title: 'Give the refresh token back',
    text: 'It would go on working after the person has signed out, so the app ends it first.',
  },
} as const satisfies Record<string, Words>;

export type StepName = keyof typeof stepWords;

const claimWords: Readonly<Record<string, string>> = {
  iss: 'Who made this token.',
  sub: 'The person, as a name that never changes. An app stores this, not the email.',
  aud: 'Who it is for: this app.',
  exp: 'Good until then.',
  iat: 'When it was made.',
  auth_time: 'When the person last proved who they are.',
  nonce: 'Sent along with the request, and back unchanged.',
  at_hash: 'A fingerprint of the access token that came along.',
  acr: 'How sure the server is that it’s them.',
  amr: 'How they proved it.',
  sid: 'Their session at the server.',
};

/** Who says it, about whom, for whom and until when; then the rest as it came. */
export function inReadingOrder(claims: Readonly<Record<string, unknown>>): [name: string, claim: unknown][] {
  const order = Object.keys(claimWords);
  const place = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  return Object.entries(claims).sort(([one], [other]) => place(one) - place(other));
}

/** A claim's value for people, and what it is for. */
export function explainClaim(name: string, value: unknown): { value: string; text: string } {
  const isTime = ['exp', 'iat', 'auth_time'].includes(name) && typeof value === 'number';
  const shown = isTime ? `${value} (${new Date(value * 1000).toISOString().slice(11, 19)} UTC)` : asText(value);
  const text = Object.hasOwn(claimWords, name) ? (claimWords[name] ?? '') : 'Something this server adds.';
  return { value: shown, text };
}

export function asText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
