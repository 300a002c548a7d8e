import type { PlaygroundStep } from '../http/views.ts';
import { decodeJwt, type SignatureCheck } from '../keys/verify-jwt.ts';
import { claimText, explainClaim } from './explain.ts';
import { jsonInk } from './ink.ts';
import type { IdTokenFindings } from './steps.ts';

type TokenView = NonNullable<PlaygroundStep['token']>;

/** An ID token as the page shows it: in its parts, with each claim explained and each check told. */
export function tokenView({ token, signature, claims: results }: IdTokenFindings, keysUrl: string): TokenView {
  const { header, claims } = decodeJwt(token) ?? { header: {}, claims: {} };
  const resultOf = (name: string) => (Object.hasOwn(results, name) ? results[name] : undefined);
  return {
    parts: token.split('.'),
    signature: signatureWords(signature, new URL(keysUrl).pathname),
    header: jsonInk(header),
    claims: inReadingOrder(Object.keys(claims)).map((name) => ({
      name,
      value: claimText(claims[name]),
      text: explainClaim(name, claims, resultOf(name)),
      ok: resultOf(name) ?? true,
    })),
    missing: Object.keys(results).filter((name) => !Object.hasOwn(claims, name)),
  };
}

/** Who says it, about whom, for whom and until when; then the rest as it came. */
function inReadingOrder(names: readonly string[]): string[] {
  const first = ['iss', 'sub', 'aud', 'exp', 'iat'].filter((name) => names.includes(name));
  return [...first, ...names.filter((name) => !first.includes(name))];
}

function signatureWords(signature: SignatureCheck, keysPath: string): TokenView['signature'] {
  if (signature.valid) {
    const { alg, kid } = signature;
    return {
      ok: true,
      title: 'Signature verified.',
      before: `${alg}, with ${kid ? 'key' : 'a key'} `,
      kid,
      from: keysPath,
    };
  }
  const reasons = {
    'unknown-key': 'None of the server’s keys made it.',
    'wrong-signature': 'It was changed after it was signed.',
    algorithm: 'Its algorithm isn’t one to accept.',
    malformed: 'It isn’t a signed token.',
  };
  return {
    ok: false,
    title: 'Signature not valid.',
    before: reasons[signature.reason],
    kid: undefined,
    from: undefined,
  };
}
