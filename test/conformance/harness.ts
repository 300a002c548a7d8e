/**
 * What the OpenID Foundation's conformance suite is to a provider: a relying party of its own that trusts nothing. It
 * speaks plain HTTP (http.ts), keeps every raw request and answer, and checks signatures, claims and hashes itself
 * (expectations.ts).
 */
import { createHash, randomBytes } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { expect, vi } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Page, type Person } from '../support/person.ts';
import { allow, registerAccount, signIn } from '../support/relying-party.ts';
import { expectCode, expectTokens, verifyIdToken } from './expectations.ts';
import { readSelfSubmittingForm } from './form-post.ts';
import { type Answer, type Client, type Fields, given, post, send } from './http.ts';

/** A provider under test, and the person whose every standard claim it knows. */
export type Suite = {
  app: TestApp;
  issuer: string;
  metadata: Metadata;
  account: Awaited<ReturnType<typeof registerAccount>>;
};
export type Metadata = Record<string, unknown> & {
  issuer: string;
  authorization_endpoint: string;
  token_endpoint: string;
  userinfo_endpoint: string;
  end_session_endpoint: string;
  pushed_authorization_request_endpoint: string;
  introspection_endpoint: string;
  revocation_endpoint: string;
  jwks_uri: string;
};

/** Where the person's browser ended: at the redirect URI with a response, or on a page of the provider. */
export type AuthorizationAnswer = {
  page: Page;
  /** The parameters that arrived at the redirect URI. */
  response: Record<string, string> | undefined;
  mode: 'query' | 'fragment' | 'form_post' | undefined;
  /** What the person was asked on the way. */
  asked: ('login' | 'consent')[];
};

/** Of the suite, not of the provider: what is sent there is read from the browser and goes no further. */
export const redirectUri = 'https://suite.example/test/a/latchkey/callback';
export const postLogoutRedirectUri = 'https://suite.example/test/a/latchkey/post_logout_redirect';

/** Starts the application, reads its metadata, and makes the person. Close `suite.app` at the end. */
export async function startSuite(options: Parameters<typeof startApp>[0] = {}): Promise<Suite> {
  const app = await startApp(options);
  const metadata = await readMetadata(app);
  const account = await registerAccount(app);
  await app.database.db.execute(sql`
    update users set email_verified = true, given_name = 'Ada', family_name = 'Moreno', middle_name = 'Inês',
      nickname = 'adinha', preferred_username = 'ada', profile = 'https://ada.example/',
      picture = 'https://ada.example/me.jpg', website = 'https://blog.ada.example/', gender = 'female',
      birthdate = '1994-06-27', zoneinfo = 'Europe/Lisbon', locale = 'pt-PT', phone_number = '+351210000000',
      phone_number_verified = true, street_address = 'Rua Augusta 1', locality = 'Lisboa', region = 'Lisboa',
      postal_code = '1000-001', country = 'Portugal'
    where id = ${account.sub}`);
  return { app, issuer: app.issuer, metadata, account };
}

export async function readMetadata({ issuer }: Pick<TestApp, 'issuer'>): Promise<Metadata> {
  return (await send(`${issuer}/.well-known/openid-configuration`)).json as Metadata;
}

/** `POST /clients` with what every plan's clients have in common. */
export async function register(suite: Suite, metadata: Record<string, unknown> = {}): Promise<Client> {
  const response = await fetch(`${suite.app.origin}/clients`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      client_name: 'Conformance suite',
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', 'refresh_token'],
      ...metadata,
    }),
  });
  const client = (await response.json()) as Client;
  expect(response.status, JSON.stringify(client)).toBe(201);
  return client;
}

export type AuthorizationRequest = { parameters: Record<string, string>; client: Client; verifier: string | undefined };

/** An authorization request for a code with state and nonce; `changes` replace parameters, undefined leaves one out. */
export function newRequest(client: Client, changes: Fields = {}): AuthorizationRequest {
  const parameters = given({
    client_id: client.client_id,
    response_type: 'code',
    redirect_uri: redirectUri,
    scope: 'openid',
    state: randomBytes(8).toString('base64url'),
    nonce: randomBytes(8).toString('base64url'),
    ...changes,
  });
  return { parameters, client, verifier: undefined };
}

/** The same with PKCE (RFC 7636, S256). */
export function newPkceRequest(client: Client, changes: Fields = {}): AuthorizationRequest {
  const verifier = randomBytes(32).toString('base64url');
  const code_challenge = createHash('sha256').update(verifier).digest('base64url');
  return { ...newRequest(client, { code_challenge, code_challenge_method: 'S256', ...changes }), verifier };
}

export function newPerson(suite: Suite): Person {
  return createPerson(suite.app.origin);
}

/**
 * Sends a browser to the authorization endpoint and lets the person sign in and allow what is asked. Ends where the
 * provider delivers its response, or on the first page that asks for neither.
 */
export async function authorize(
  suite: Suite,
  parameters: Record<string, string>,
  options: { person?: Person; method?: 'GET' | 'POST'; answer?: (page: Page) => Promise<Page | undefined> } = {},
): Promise<AuthorizationAnswer> {
  const { person = newPerson(suite), method = 'GET', answer = async () => undefined } = options;
  const endpoint = suite.metadata.authorization_endpoint;
  const query = new URLSearchParams(parameters);
  let page = await (method === 'GET'
    ? person.open(`${endpoint}?${query}`)
    : person.open(endpoint, { method, body: query, headers: { origin: 'https://suite.example' } }));
  const asked: AuthorizationAnswer['asked'] = [];
  for (let steps = 0; steps < 4 && !page.left; steps += 1) {
    const own = await answer(page);
    if (own) page = own;
    else if (page.html.includes('id="login"')) {
      asked.push('login');
      page = await signIn(person, page, suite.account);
    } else if (page.html.includes('id="consent"')) {
      asked.push('consent');
      page = await allow(person, page);
    } else break;
  }
  return { page, asked, ...deliveredBy(page) };
}

/** Reads the response as the redirect URI would get it: from its query, its fragment, or a form that sends itself. */
function deliveredBy(page: Page): Pick<AuthorizationAnswer, 'response' | 'mode'> {
  const form = page.left ? undefined : readSelfSubmittingForm(page);
  const target = form ? form.action : page.left?.href.replace(/[?#].*$/s, '');
  if (target === undefined) return { response: undefined, mode: undefined };
  expect(target, 'where the response goes').toBe(redirectUri);
  if (form) return { response: once(form.fields), mode: 'form_post' };
  const { hash, searchParams } = page.left as URL;
  if (hash) return { response: once([...new URLSearchParams(hash.slice(1))]), mode: 'fragment' };
  return { response: once([...searchParams]), mode: 'query' };
}

/** RFC 6749 §3.1: no parameter more than once. */
function once(pairs: [string, string][]): Record<string, string> {
  expect(new Set(pairs.map(([name]) => name)).size, 'distinct parameters').toBe(pairs.length);
  return Object.fromEntries(pairs);
}

/** Redeems a code as it should be; `changes` replace parameters. */
export function redeem(
  suite: Suite,
  request: AuthorizationRequest,
  code: string,
  changes: Fields = {},
  headers: Record<string, string> = {},
): Promise<Answer> {
  const parameters = {
    grant_type: 'authorization_code',
    code,
    redirect_uri: request.parameters.redirect_uri ?? redirectUri,
    code_verifier: request.verifier,
    ...changes,
  };
  return post(suite.metadata.token_endpoint, parameters, request.client, headers);
}

/** OIDC Core §5.3: the claims for an access token. */
export async function userinfo(suite: Suite, accessToken: string): Promise<Answer> {
  return send(suite.metadata.userinfo_endpoint, { headers: { authorization: `Bearer ${accessToken}` } });
}

/** A whole sign-in: request, response, tokens, verified ID token. `headers` go with the token request. */
export async function completeFlow(
  suite: Suite,
  request: AuthorizationRequest,
  { headers = {}, ...options }: Parameters<typeof authorize>[2] & { headers?: Record<string, string> } = {},
) {
  const answer = await authorize(suite, request.parameters, options);
  const code = expectCode(suite, request, answer);
  const tokens = expectTokens(await redeem(suite, request, code, {}, headers), headers.dpop ? 'dpop' : 'bearer');
  return { ...answer, request, code, tokens, claims: await verifyIdToken(suite, request, tokens) };
}

/** Moves the clock of suite and provider on, and freezes it until `vi.useRealTimers()`. */
export function passTime(seconds: number): void {
  const now = Date.now();
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(now + seconds * 1000);
}
