/** An independent relying party: `openid-client` against our endpoints, found through discovery. */
import { randomBytes } from 'node:crypto';
import * as client from 'openid-client';
import { expect } from 'vitest';
import { createPerson, type Page, type Person, readCheckboxes } from './person.ts';

export type Registration = { client_id: string; client_secret?: string; registration_access_token: string };
type Server = { origin: string; issuer: string };

export const password = 'correct horse battery';

/** `POST /clients`, as a developer would. */
export async function registerClient(
  server: Server,
  metadata: Record<string, unknown> = {},
  headers: Record<string, string> = {},
): Promise<Registration> {
  const response = await fetch(`${server.origin}/clients`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({
      client_name: 'Fernwood Library',
      redirect_uris: [`${server.origin}/callback`],
      grant_types: ['authorization_code', 'refresh_token'],
      ...metadata,
    }),
  });
  const body = (await response.json()) as Registration;
  expect(response.status, JSON.stringify(body)).toBe(201);
  return body;
}

export async function registerAccount(
  server: Server,
  account: { email?: string; name?: string; password?: string } = {},
): Promise<{ sub: string; email: string; name: string; password: string }> {
  const body = {
    email: `${randomBytes(6).toString('hex')}@moreno.example`,
    name: 'Ada Moreno',
    password,
    ...account,
  };
  const response = await fetch(`${server.origin}/auth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as { sub: string };
  expect(response.status, JSON.stringify(answer)).toBe(201);
  return { ...body, sub: answer.sub };
}

export type RelyingParty = Awaited<ReturnType<typeof discover>>;

/** Discovers the provider as the registered client. */
export async function discover(server: Server, registration: Registration, auth?: client.ClientAuth) {
  const config = await client.discovery(
    new URL(server.issuer),
    registration.client_id,
    undefined,
    auth ?? (registration.client_secret ? client.ClientSecretBasic(registration.client_secret) : client.None()),
    { execute: [client.allowInsecureRequests] },
  );
  return {
    config,
    clientId: registration.client_id,
    /** An authorization request with PKCE, state and nonce, and what is needed to finish it. */
    async start(parameters: Record<string, string> = {}) {
      const verifier = client.randomPKCECodeVerifier();
      const [state, nonce] = [client.randomState(), client.randomNonce()];
      const url = client.buildAuthorizationUrl(config, {
        redirect_uri: `${server.origin}/callback`,
        scope: 'openid profile email',
        code_challenge: await client.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        state,
        nonce,
        ...parameters,
      });
      return {
        url: url.href,
        state,
        nonce,
        verifier,
        finish: (callback: URL) =>
          client.authorizationCodeGrant(config, callback, {
            pkceCodeVerifier: verifier,
            expectedState: state,
            expectedNonce: nonce,
          }),
      };
    },
    refresh: (token: string, parameters?: Record<string, string>) =>
      client.refreshTokenGrant(config, token, parameters),
    userinfo: (accessToken: string, sub: string) => client.fetchUserInfo(config, accessToken, sub),
    introspect: (token: string) => client.tokenIntrospection(config, token),
    revoke: (token: string) => client.tokenRevocation(config, token),
  };
}

/** Fills in the sign-in form of a page. */
export function signIn(person: Person, page: Page, account: { email: string; password: string }): Promise<Page> {
  return person.submit(page, 'login', { email: account.email, password: account.password }, 'login-submit');
}

/** Allows what a consent page asks: every box, or the named ones. */
export function allow(person: Person, page: Page, scopes?: string[]): Promise<Page> {
  const boxes = Object.keys(readCheckboxes(page.html, 'scope'));
  const claims = Object.keys(readCheckboxes(page.html, 'claim'));
  const detail = Object.keys(readCheckboxes(page.html, 'detail'));
  return person.submit(page, 'consent', { scope: scopes ?? boxes, claim: claims, detail }, 'consent-approve');
}

/** The whole way from an authorization request to tokens, signing in and allowing everything when asked. */
export async function signInThrough(
  server: Server,
  rp: RelyingParty,
  account: { email: string; password: string },
  options: { person?: Person; parameters?: Record<string, string>; scopes?: string[] } = {},
) {
  const person = options.person ?? createPerson(server.origin);
  const request = await rp.start(options.parameters);
  let page = await person.open(request.url);
  if (page.html.includes('id="login"')) page = await signIn(person, page, account);
  if (page.html.includes('id="consent"')) page = await allow(person, page, options.scopes);
  if (!page.left) throw new Error(`the flow ended on a page (${page.status}): ${page.html.slice(0, 2000)}`);
  return { person, request, callback: page.left, tokens: await request.finish(page.left) };
}
