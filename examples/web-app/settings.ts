/** What may differ from one installation to the next. Everything comes from the environment; the defaults fit a laptop. */
const { env } = process;

/** Who we trust to sign people in: character by character what the provider calls itself (OpenID Connect Discovery §4.3). */
export const issuer = env.ISSUER || 'http://localhost:3000/oidc';
export const port = Number(env.PORT || 8080);

/** Where browsers find this app. Behind a proxy with TLS it is the proxy's address. */
export const baseUrl = env.BASE_URL || `http://localhost:${port}`;

/** An access token is renewed when it is good for fewer seconds than this. */
export const renewBefore = Number(env.RENEW_BEFORE || 60);

/** Over https cookies get the prefix that no other host or port can forge (RFC 6265bis §4.1.3.2), which needs `Secure`. */
export const secure = baseUrl.startsWith('https:');
export const cookiePrefix = secure ? '__Host-fernwood' : 'fernwood';

/** Codes, tokens and the client's secret travel to the issuer: never in the clear, this machine apart. */
export const onThisMachine = /^http:\/\/(localhost|127\.0\.0\.1|\[::1\])([:/]|$)/.test(issuer);
if (!URL.canParse(issuer) || !(onThisMachine || issuer.startsWith('https:'))) {
  giveUp(`ISSUER is "${issuer}"; it has to be an https address, or http on this machine.`);
}
if (!Number.isInteger(port) || port < 1 || port > 65535) giveUp(`PORT is "${env.PORT}"; it has to be 1 to 65535.`);
if (!URL.canParse(baseUrl) || new URL(baseUrl).origin !== baseUrl) {
  giveUp(`BASE_URL is "${baseUrl}"; it has to look like https://library.example, without a path.`);
}
if (!(renewBefore >= 0)) giveUp(`RENEW_BEFORE is "${env.RENEW_BEFORE}"; it has to be a number of seconds.`);

/** For what only a person can mend before the app starts: says it in one line. */
export function giveUp(problem: string): never {
  console.error(problem);
  process.exit(1);
}
