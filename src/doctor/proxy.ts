import type { SecureContext } from 'node:tls';
import { createEncryption } from '../keys/encryption.ts';
import { type Answer, ask } from './ask.ts';
import { challengeHeader, doctorCookie, readAnswer, type Seen, seenPath, writeChallenge } from './challenge.ts';
import { compareClock } from './clock.ts';
import { type DoctorConfig, type Finding, ok, problem, warning } from './finding.ts';

/** An address of nobody (RFC 5737), claimed in X-Forwarded-For as any visitor can. */
const claimed = '192.0.2.123';

const nginx = (line: string) => `in nginx \`${line}\``;

/** What a request looks like when it reaches the server: what proxies did to it on the way, and to cookies both ways. */
export async function checkRealPath(
  config: DoctorConfig,
  options: { trust?: SecureContext | undefined; insecure: boolean },
): Promise<Finding[]> {
  const encryption = createEncryption(config.encryptionKeys);
  const visit = async (headers: Record<string, string> = {}) => {
    const { sealed, nonce } = writeChallenge(encryption);
    const sent = { ...headers, [challengeHeader]: sealed, 'x-forwarded-for': claimed };
    const answer = await ask(config.origin + seenPath, { ...options, headers: sent });
    return { answer, nonce, seen: readAnswer(encryption, answer.body, nonce) };
  };

  const first = await visit();
  if (!first.seen) return [stranger(first.answer)];
  const { seen, answer } = first;
  const cookie = cookieOnTheWayBack(answer, first.nonce, config);
  const later = typeof cookie === 'string' ? (await visit({ cookie })).seen : undefined;
  return [
    checkHost(seen, config),
    checkProtocol(seen, config),
    checkAddress(seen, config),
    typeof cookie === 'string' ? checkCookieOnTheWayIn(later, first.nonce) : cookie,
    compareClock('clock server', 'the server', seen.now - answer.at, answer.tookMs / 2),
  ];
}

function stranger({ status }: Answer): Finding {
  return problem(
    'server',
    `What answers at the issuer does not know this installation's keys (status ${status} at ${seenPath}).`,
    "Run this command with the server's own configuration, OIDC_ENCRYPTION_KEY above all, and let the proxy pass every path and header on.",
  );
}

function checkHost({ host }: Seen, { origin }: DoctorConfig): Finding {
  const { host: expected, protocol } = new URL(origin);
  const seen = URL.canParse(`${protocol}//${host}`) ? new URL(`${protocol}//${host}`).host : host;
  if (seen === expected) return ok('host', `Requests arrive for ${expected}.`);
  return problem(
    'host',
    `Requests for ${expected} arrive for ${JSON.stringify(host.slice(0, 100))}.`,
    `Let the proxy pass Host unchanged: ${nginx('proxy_set_header Host $host;')}.`,
  );
}

function checkProtocol({ tls, forwardedProto }: Seen, { secure, origin }: DoctorConfig): Finding {
  const { host } = new URL(origin);
  const said = forwardedProto.split(',')[0]?.trim() ?? '';
  if (!secure && (tls || said === 'https')) {
    return problem(
      'protocol',
      'Requests come over https, but OIDC_ISSUER says http.',
      `Set OIDC_ISSUER=https://${host}: cookies are not marked Secure, and clients see the wrong issuer.`,
    );
  }
  if (!secure) return ok('protocol', 'Requests come over plain http, as OIDC_ISSUER says.');
  if (tls) return ok('protocol', 'Requests come over https as far as this server.');
  if (said === 'https') return ok('protocol', 'A proxy terminates TLS and says so.');
  const how = said === '' ? 'does not say so' : `says ${said.slice(0, 20)}`;
  return warning(
    'protocol',
    `A proxy terminates TLS and ${how}: addresses follow OIDC_ISSUER all the same.`,
    `Let it send X-Forwarded-Proto: ${nginx('proxy_set_header X-Forwarded-Proto $scheme;')}.`,
  );
}

/** Each proxy adds who came to it behind what was there: what is behind the claimed address is true. */
function checkAddress(seen: Seen, { trustProxy, secure }: DoctorConfig): Finding {
  const said = seen.forwardedFor.split(',').map((each) => each.trim());
  const added = said.slice(said.lastIndexOf(claimed) + 1).filter(Boolean);
  const proxies = added.length;
  const byAddress = typeof trustProxy === 'string';
  const trusting = byAddress || Number(trustProxy ?? 0) > 0;
  if (proxies === 0 && (trusting || (secure && !seen.tls))) {
    return problem(
      'address',
      `No proxy says who asks, though ${trusting ? 'TRUST_PROXY is set' : 'one terminates TLS'}: all visitors share its address, or choose theirs.`,
      `Let it send X-Forwarded-For: ${nginx('proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;')}, and set TRUST_PROXY=1; without a proxy unset it.`,
    );
  }
  // By address, this machine may be among those that are believed: it is no visitor then.
  if (seen.hops > proxies && !byAddress) {
    return problem(
      'address',
      'A visitor can choose the address that the server sees: TRUST_PROXY trusts more than there are proxies.',
      `Set TRUST_PROXY=${proxies}.`,
    );
  }
  if (seen.hops < proxies) {
    return problem(
      'address',
      `All visitors have the address of a proxy (${seen.ip}), and share its limits: TRUST_PROXY ${trusting ? 'trusts too few' : 'is not set'}.`,
      byAddress
        ? `Add ${seen.ip} to TRUST_PROXY.`
        : `Set TRUST_PROXY=${proxies}: that many proxies add to X-Forwarded-For.`,
    );
  }
  const through = proxies === 0 ? 'directly' : `through ${proxies} ${proxies === 1 ? 'proxy' : 'proxies'}`;
  return ok('address', `Requests come ${through}; this machine is seen as ${added[0] ?? seen.peer}.`);
}

/** The `Cookie` header to come back with, or what is wrong with the cookie that was set. */
function cookieOnTheWayBack({ headers }: Answer, nonce: string, { secure }: DoctorConfig): string | Finding {
  const { name, attributes } = doctorCookie(secure);
  const unchanged = `Let the proxy pass Set-Cookie unchanged: ${nginx('proxy_cookie_flags off; proxy_cookie_path off;')}, and no caching.`;
  const line = headers['set-cookie']?.find((each) => each.startsWith(`${name}=`));
  if (line === undefined) {
    return problem('cookies', 'The cookie that the server set does not arrive: nobody can sign in.', unchanged);
  }
  const [pair, ...rest] = line.split(';').map((each) => each.trim());
  const plain = (list: string[]) => list.map((each) => each.toLowerCase()).sort();
  const lost = plain(attributes.split('; ')).filter((each) => !plain(rest).includes(each));
  const more = plain(rest).filter((each) => /^(domain|path)=/.test(each) && each !== 'path=/');
  if (pair !== `${name}=${nonce}` || lost.length > 0 || more.length > 0) {
    const how = [...lost.map((each) => `without ${each}`), ...more.map((each) => `with ${each}`)].join(', ');
    return problem('cookies', `The cookie that the server set arrives changed${how && `: ${how}`}.`, unchanged);
  }
  return pair;
}

function checkCookieOnTheWayIn(seen: Seen | undefined, nonce: string): Finding {
  if (seen?.cookie === nonce) return ok('cookies', 'Cookies arrive as they were set, and come back.');
  return problem(
    'cookies',
    'Cookies that a browser sends do not reach the server: nobody can sign in.',
    `Let the proxy pass the Cookie header on: no \`proxy_set_header Cookie ""\`, and no caching.`,
  );
}
