/**
 * Says what is wrong with a redirect URI that a client wants to register, or undefined when nothing is (RFC 9700 §2.1,
 * §4.1.3; RFC 8252 §7). Requests must repeat a registered URI character by character, so what is kept out here never
 * becomes the target of a redirect.
 *
 * Plain http is for loopback addresses in production, and for any host in development. Schemes of apps are for
 * `application_type` native; in production they contain a dot, as a domain name of the app's owner turned round does.
 */
export function redirectUriProblem(
  uri: unknown,
  { production, native }: { production: boolean; native: boolean },
): string | undefined {
  const problem = uriProblem(uri);
  if (problem) return problem;
  const url = new URL(String(uri));
  const scheme = url.protocol.slice(0, -1);
  if (scheme === 'https' || scheme === 'http') {
    if (url.hostname.includes('*')) return 'must name one host: redirect URIs are compared character by character';
    if (!isWrittenPlainly(String(uri), url)) return `must name its host as ${url.hostname}`;
    if (scheme === 'http' && production && !isLoopback(url)) return 'must be https (http is for loopback addresses)';
    return undefined;
  }
  if (forbiddenSchemes.has(scheme)) return `must not use the scheme ${scheme}`;
  if (!native) return 'must be https or http, unless application_type is native';
  if (production && !scheme.includes('.')) return 'must have a scheme with a dot in it, such as com.example.app';
  return undefined;
}

/** Says what is wrong with an address that is linked to or fetched, or undefined. Plain http passes when `http` says so. */
export function webUriProblem(uri: unknown, http: (url: URL) => boolean): string | undefined {
  const problem = uriProblem(uri);
  if (problem) return problem;
  const url = new URL(String(uri));
  if (url.protocol === 'https:' || (url.protocol === 'http:' && http(url))) return undefined;
  return 'must be an https address';
}

/** False for hosts that only a parser makes out: `%65xample.com`, `127.1`. */
function isWrittenPlainly(uri: string, { hostname }: URL): boolean {
  const authority = /^https?:\/\/([^/?]*)/i.exec(uri)?.[1] ?? '';
  return authority.toLowerCase().replace(/:\d*$/, '') === hostname;
}

export function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '127.0.0.1' || hostname === '[::1]';
}

const maxLength = 2_000;

/** What makes browsers run, show or open something instead of handing the answer to an app. */
const forbiddenSchemes = new Set([
  ...['javascript', 'vbscript', 'data', 'blob', 'file', 'filesystem', 'about', 'view-source', 'jar'],
  ...['ws', 'wss', 'ftp', 'mailto', 'tel', 'sms', 'intent', 'chrome', 'resource'],
]);

/** RFC 3986 is stricter than URL parsers, which forgive what a person reads differently. */
function uriProblem(uri: unknown): string | undefined {
  if (typeof uri !== 'string') return 'must be a string';
  if (uri.length > maxLength) return `must have at most ${maxLength} characters`;
  if (!/^[\x21-\x5b\x5d-\x7e]*$/.test(uri))
    return 'must be plain ASCII without spaces and backslashes (percent-encode)';
  if (!URL.canParse(uri)) return 'must be an absolute URI';
  if (/^https?:/i.test(uri) && !/^https?:\/\/[^/]/i.test(uri)) return 'must be an absolute URI';
  if (uri.includes('#')) return 'must not contain a fragment';
  if (/^[^:]+:\/\/[^/?]*@/.test(uri)) return 'must not contain a user name or password';
  return undefined;
}
