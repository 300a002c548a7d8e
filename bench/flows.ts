/** What is measured: each flow of the protocol as one function, for whichever provider. */
import { createHash, randomBytes } from 'node:crypto';
import { apis } from './apis.ts';
import { type Answer, type Asked, expectStatus, send } from './load.ts';
import type { Credentials, ProviderUnderTest } from './providers.ts';

export type Flow = {
  name: string;
  title: string;
  /** What one run needs; made before the time is taken. */
  prepare(provider: ProviderUnderTest, count: number): Promise<unknown[]>;
  /** What one run asks, where that is one request, answered with 200. */
  request?(provider: ProviderUnderTest, input: never): Asked & { url: string };
  /** Answers what the next run of the same loop begins with, where each uses up what it had. */
  run(provider: ProviderUnderTest, input: never): Promise<unknown>;
  /** Each input is good once, and no run makes the next one's. */
  consumes?: true;
  /** The one that Latchkey has and the bare library has not. */
  latchkeyOnly?: true;
};

const [jwtApi, opaqueApi] = apis;
const basic = ({ id, secret }: Credentials) => `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;
const scope = 'openid email';

export type Tokens = { access_token: string; refresh_token: string; id_token: string };

const token = async (
  provider: ProviderUnderTest,
  form: Record<string, string>,
  client: Credentials,
): Promise<Tokens> => {
  const answer = await send(`${provider.issuer}/token`, {
    method: 'POST',
    headers: { authorization: basic(client) },
    form,
  });
  return JSON.parse(expectStatus(answer, 200).text);
};

const clientCredentials =
  ({ identifier, scope }: (typeof apis)[number]) =>
  ({ issuer, service }: ProviderUnderTest) => ({
    url: `${issuer}/token`,
    method: 'POST' as const,
    headers: { authorization: basic(service) },
    form: { grant_type: 'client_credentials', resource: identifier, scope },
  });

/** A flow that is one request. */
function single<Input>(
  flow: Pick<Flow, 'name' | 'title' | 'prepare'> & {
    request(provider: ProviderUnderTest, input: Input): Asked & { url: string };
  },
): Flow {
  return {
    ...flow,
    async run(provider, input: Input) {
      const { url, ...asked } = flow.request(provider, input);
      expectStatus(await send(url, asked), 200);
    },
  };
}

function authorizationRequest({ issuer, app, redirectUri }: ProviderUnderTest): { url: string; verifier: string } {
  const verifier = randomBytes(32).toString('base64url');
  const query = new URLSearchParams({
    client_id: app.id,
    redirect_uri: redirectUri,
    response_type: 'code',
    scope,
    state: randomBytes(8).toString('hex'),
    nonce: randomBytes(8).toString('hex'),
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  });
  return { url: `${issuer}/auth?${query}`, verifier };
}

type Jar = Map<string, string>;

async function browse(jar: Jar, url: string, asked: Parameters<typeof send>[1] = {}): Promise<Answer> {
  const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
  const answer = await send(url, { ...asked, headers: { ...asked.headers, ...(cookie && { cookie }) } });
  for (const line of [answer.headers['set-cookie'] ?? []].flat()) {
    const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
    if (value === '' || /expires=Thu, 01 Jan 1970/i.test(line)) jar.delete(name);
    else jar.set(name, value);
  }
  return answer;
}

type Arrived = { code: string; verifier: string };

/** From the authorization request to the code, through the sign-in page when there is one. */
async function arrive(provider: ProviderUnderTest, jar: Jar): Promise<Arrived> {
  const { url, verifier } = authorizationRequest(provider);
  let at = url;
  let answer = await browse(jar, at);
  for (let steps = 0; steps < 10; steps += 1) {
    if (answer.status === 200) {
      const action = /<form[^>]*action="([^"]+)"/.exec(answer.text)?.[1] ?? '';
      const hidden = [...answer.text.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)];
      const form = { ...Object.fromEntries(hidden.map(([, name, value]) => [name, value])), ...provider.person };
      at = new URL(action, at).href;
      answer = await browse(jar, at, { method: 'POST', form, headers: { origin: provider.origin } });
      continue;
    }
    if (answer.status !== 303 && answer.status !== 302) break;
    at = new URL(String(answer.headers.location), at).href;
    if (at.startsWith(provider.redirectUri)) {
      const code = new URL(at).searchParams.get('code');
      if (!code) throw new Error(`no code: ${at}`);
      return { code, verifier };
    }
    answer = await browse(jar, at);
  }
  throw new Error(`an authorization request ended with ${answer.status} at ${at}: ${answer.text.slice(0, 500)}`);
}

const exchange = (provider: ProviderUnderTest, { code, verifier }: Arrived): Promise<Tokens> =>
  token(
    provider,
    { grant_type: 'authorization_code', code, redirect_uri: provider.redirectUri, code_verifier: verifier },
    provider.app,
  );

const browsers = new WeakMap<ProviderUnderTest, Jar[]>();

/** Browsers that are signed in, the same for every flow; one whose session a provider forgot signs in again. */
async function signedIn(provider: ProviderUnderTest, count: number): Promise<Jar[]> {
  const jars = browsers.get(provider) ?? [];
  browsers.set(provider, jars);
  while (jars.length < count) jars.push(new Map());
  await Promise.all(jars.map((jar) => arrive(provider, jar)));
  return jars;
}

async function codes(provider: ProviderUnderTest, count: number): Promise<Arrived[]> {
  const jars = await signedIn(provider, 16);
  const made: Arrived[] = [];
  await Promise.all(
    jars.map(async (jar) => {
      while (made.length < count) made.push(await arrive(provider, jar));
    }),
  );
  return made;
}

const tokens = async (provider: ProviderUnderTest, count: number): Promise<Tokens[]> =>
  Promise.all((await codes(provider, Math.min(count, 16))).map((code) => exchange(provider, code)));

const nothing = async (_provider: ProviderUnderTest, count: number) =>
  Array.from({ length: Math.min(count, 64) }, () => ({}));

export const flows: Flow[] = [
  single({
    name: 'discovery',
    title: 'Discovery document',
    prepare: nothing,
    request: ({ issuer }) => ({ url: `${issuer}/.well-known/openid-configuration` }),
  }),
  single({
    name: 'jwks',
    title: 'JWKS',
    prepare: nothing,
    request: ({ issuer }) => ({ url: `${issuer}/jwks` }),
  }),
  {
    name: 'authorization',
    title: 'Authorization with a session',
    prepare: (provider, count) => signedIn(provider, Math.min(count, 16)),
    run: async (provider, jar: Jar) => void (await arrive(provider, jar)),
  },
  {
    name: 'code-exchange',
    title: 'Code exchange',
    prepare: codes,
    consumes: true,
    run: async (provider, code: Arrived) => void (await exchange(provider, code)),
  },
  single({
    name: 'client-credentials-jwt',
    title: 'Client credentials, JWT',
    prepare: nothing,
    request: clientCredentials(jwtApi),
  }),
  single({
    name: 'client-credentials-opaque',
    title: 'Client credentials, opaque',
    prepare: nothing,
    request: clientCredentials(opaqueApi),
  }),
  {
    name: 'refresh',
    title: 'Refresh with rotation',
    prepare: tokens,
    run: (provider, { refresh_token }: Tokens) =>
      token(provider, { grant_type: 'refresh_token', refresh_token }, provider.app),
  },
  single({
    name: 'userinfo',
    title: 'Userinfo',
    prepare: tokens,
    request: ({ issuer }, { access_token }: Tokens) => ({
      url: `${issuer}/userinfo`,
      headers: { authorization: `Bearer ${access_token}` },
    }),
  }),
  {
    name: 'introspection',
    title: 'Introspection',
    prepare: tokens,
    run: async (provider, { access_token }: Tokens) => {
      const headers = { authorization: basic(provider.app) };
      const answer = await send(`${provider.issuer}/introspection`, {
        method: 'POST',
        headers,
        form: { token: access_token },
      });
      if (JSON.parse(expectStatus(answer, 200).text).active !== true) throw new Error('a token is not active');
    },
  },
  {
    name: 'sign-in',
    title: 'Whole sign-in without a browser',
    prepare: nothing,
    run: async (provider) => void (await exchange(provider, await arrive(provider, new Map()))),
  },
];
