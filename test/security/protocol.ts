/** Requests at the protocol endpoints with no library in between, so that each can be wrong in one place. */
import { createHash, randomBytes } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { vi } from 'vitest';
import type { TestApp } from '../support/app.ts';
import { createPerson, type Page, type Person } from '../support/person.ts';
import { allow, type Registration, registerAccount, signIn } from '../support/relying-party.ts';

export type Answer = { status: number; headers: Headers; body: Record<string, unknown> };
export type Parameters = Record<string, string | undefined>;
type Client = Pick<Registration, 'client_id' | 'client_secret'>;

/** A form post to `/oidc/<endpoint>`, authenticated as the client when one is given. */
export async function post(
  app: Pick<TestApp, 'issuer'>,
  endpoint: string,
  parameters: Parameters,
  client?: Client,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const identity = client && client.client_secret === undefined ? { client_id: client.client_id } : {};
  const response = await fetch(`${app.issuer}/${endpoint}`, {
    method: 'POST',
    redirect: 'manual',
    headers: { ...(client?.client_secret && basic(client)), ...headers },
    body: new URLSearchParams(given({ ...identity, ...parameters })),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json');
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : {} };
}

export function basic({ client_id, client_secret = '' }: Client): { authorization: string } {
  const pair = `${encodeURIComponent(client_id)}:${encodeURIComponent(client_secret)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

function given(parameters: Parameters): Record<string, string> {
  return Object.fromEntries(
    Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

/** RFC 7636: a verifier and its S256 challenge. */
export function pkce(): { verifier: string; challenge: string } {
  const verifier = randomBytes(32).toString('base64url');
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') };
}

/** An authorization request that is in order; `changes` replace parameters, and undefined leaves one out. */
export function authorizationUrl(app: TestApp, client: Client, changes: Parameters = {}): string {
  const parameters = {
    client_id: client.client_id,
    response_type: 'code',
    redirect_uri: `${app.origin}/callback`,
    scope: 'openid',
    state: 'state-of-the-client',
    code_challenge: pkce().challenge,
    code_challenge_method: 'S256',
    ...changes,
  };
  return `${app.issuer}/auth?${new URLSearchParams(given(parameters))}`;
}

export type SignedIn = { person: Person; account: Awaited<ReturnType<typeof registerAccount>> };

/** A person with an account, signed in. */
export async function signedInPerson(app: TestApp): Promise<SignedIn> {
  const account = await registerAccount(app);
  const person = createPerson(app.origin);
  await signIn(person, await person.open('/auth/login'), account);
  return { person, account };
}

/** What an authorization response brought, and what is needed to redeem it. */
export type Issued = { code: string; verifier: string | undefined; redirectUri: string; callback: URL };

/** Sends a signed-in person through an authorization request, allowing everything, as far as the code. */
export async function issueCode(
  app: TestApp,
  client: Client,
  { person }: SignedIn,
  changes: Parameters = {},
): Promise<Issued> {
  const { verifier, challenge } = pkce();
  const withPkce = !('code_challenge' in changes);
  const url = authorizationUrl(app, client, { ...(withPkce && { code_challenge: challenge }), ...changes });
  let page: Page = await person.open(url);
  if (page.html.includes('id="consent"')) page = await allow(person, page);
  const code = page.left?.searchParams.get('code');
  if (!page.left || !code) throw new Error(`no code (${page.status}): ${page.left ?? page.html.slice(0, 1000)}`);
  const redirectUri = changes.redirect_uri ?? `${app.origin}/callback`;
  return { code, verifier: withPkce ? verifier : undefined, redirectUri, callback: page.left };
}

/** Redeems a code as it should be; `changes` replace parameters. */
export function redeem(app: TestApp, client: Client, issued: Issued, changes: Parameters = {}): Promise<Answer> {
  const parameters = {
    grant_type: 'authorization_code',
    code: issued.code,
    redirect_uri: issued.redirectUri,
    code_verifier: issued.verifier,
    ...changes,
  };
  return post(app, 'token', parameters, client);
}

export function refresh(app: TestApp, client: Client, token: string, changes: Parameters = {}): Promise<Answer> {
  return post(app, 'token', { grant_type: 'refresh_token', refresh_token: token, ...changes }, client);
}

export type Tokens = { access_token: string; id_token: string; refresh_token: string };

/** All the tokens that a client gets for a person who allows it to stay connected. */
export async function issueTokens(
  app: TestApp,
  client: Client,
  signedIn: SignedIn,
  changes: Parameters = { scope: 'openid profile offline_access', prompt: 'consent' },
): Promise<Tokens> {
  const answer = await redeem(app, client, await issueCode(app, client, signedIn, changes));
  if (answer.status !== 200) throw new Error(`no tokens: ${JSON.stringify(answer.body)}`);
  return answer.body as Tokens;
}

/** The status of userinfo for an access token: 200 while it works, 401 after. */
export async function userinfoStatus(app: TestApp, accessToken: string): Promise<number> {
  const response = await fetch(`${app.issuer}/userinfo`, { headers: { authorization: `Bearer ${accessToken}` } });
  await response.body?.cancel();
  return response.status;
}

/** As the operator would on the command line: somebody vouches for the client. */
export async function vouchFor(app: TestApp, client: Client): Promise<void> {
  await app.database.db.execute(
    sql`update oidc_clients set registered_by = 'operator' where client_id = ${client.client_id}`,
  );
}

/** As the operator would: the client is the operator's own. */
export async function makeFirstParty(app: TestApp, client: Client): Promise<void> {
  await app.database.db.execute(sql`update oidc_clients set first_party = true where client_id = ${client.client_id}`);
}

/** The addresses on a page that lead away from this server: links, form targets, resources, refreshes. */
export function outwardTargets(html: string): string[] {
  const addresses = [...html.matchAll(/\s(?:href|action|formaction|src|content)="([^"]*)"/g)].map(
    ([, value = '']) => value,
  );
  return addresses.filter((address) => /^[a-z][\w+.-]*:|^\/\/|^\/?\\\\|url=/i.test(address));
}

/** Makes every use of a token, a code or whatever else is used up look as many seconds older. */
export async function ageUses(app: Pick<TestApp, 'database'>, seconds: number): Promise<void> {
  await app.database.db.execute(
    sql`update oidc_grants set consumed_at = consumed_at - make_interval(secs => ${seconds}::float8)`,
  );
}

/** Moves the clock of test and server on, and freezes it until `vi.useRealTimers()`. */
export function advance(seconds: number): void {
  const now = Date.now();
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(now + seconds * 1000);
}
