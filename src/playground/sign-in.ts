import { z } from 'zod';
import { decodeJwt } from '../keys/verify-jwt.ts';
import { equalInConstantTime, sha256 } from '../lib/hash.ts';
import { randomToken } from '../lib/random.ts';
import { clientId, redirectUri, scope } from './client.ts';
import { discover, type Endpoints } from './discovery.ts';
import { type Exchange, exchange, jsonOf, type Pair, resultOf } from './exchange.ts';
import { checkIdToken, type Expected, isGood } from './id-token.ts';
import type { Run, Tokens } from './run.ts';
import type { Step } from './steps.ts';

/** Where the provider is, as any app would be told, and where this app is. */
export type Site = { issuer: string; origin: string };

/** RFC 6749 §5.1 with OIDC Core §3.1.3.3. */
export const TokenResponse = z.object({
  access_token: z.string(),
  id_token: z.string(),
  refresh_token: z.string().optional(),
});

/** Finds the provider and prepares an authorization request: code, PKCE, state and nonce. */
export async function beginRun({ issuer, origin }: Site): Promise<Run> {
  const { exchange: discovery, endpoints } = await discover(issuer);
  const request = { state: randomToken(16), nonce: randomToken(16), codeVerifier: randomToken() };
  const found = jsonOf(discovery.response?.body ?? '')?.issuer;
  const checks = found === undefined ? [] : [check('issuer', found === issuer)];
  const steps: Step[] = [{ name: 'discovery', exchange: discovery, checks }];
  if (endpoints) {
    const url = endpoints.authorization_endpoint;
    steps.push({
      name: 'authorization-request',
      url,
      parameters: [
        ['response_type', 'code'],
        ['client_id', clientId],
        ['redirect_uri', redirectUri(origin)],
        ['scope', scope],
        ['prompt', 'consent'],
        ['state', request.state],
        ['nonce', request.nonce],
        ['code_challenge', sha256(request.codeVerifier)],
        ['code_challenge_method', 'S256'],
      ],
    });
  }
  return {
    startedAt: Date.now(),
    stage: endpoints ? 'waiting' : 'finished',
    endpoints,
    request,
    tokens: undefined,
    logoutState: undefined,
    steps,
  };
}

/** The address to send the browser to; undefined when the run has none. */
export function authorizationUrl(run: Run): string | undefined {
  const request = run.steps.find((step) => step.name === 'authorization-request');
  return request && withQuery(request.url, request.parameters);
}

export function withQuery(url: string, parameters: readonly Pair[]): string {
  const address = new URL(url);
  for (const [name, value] of parameters) address.searchParams.append(name, value);
  return address.href;
}

/** True when an answer carries the state of this run's request, once. */
export function belongsTo(run: Run, query: URLSearchParams): boolean {
  const [state, ...more] = query.getAll('state');
  return state !== undefined && more.length === 0 && equalInConstantTime(state, run.request.state);
}

/**
 * Takes the answer to the authorization request into the run (RFC 6749 §4.1.2, RFC 9207). Undefined when it was taken
 * before: the page was loaded again, and the code in it works only once.
 */
export function receiveResponse(run: Run, query: URLSearchParams, { issuer, origin }: Site): Run | undefined {
  if (run.stage !== 'waiting') return undefined;
  const fromIssuer = query.get('iss') === issuer;
  const step: Step = {
    name: 'authorization-response',
    url: redirectUri(origin),
    parameters: [...query],
    checks: [check('state', true), check('iss', fromIssuer)],
    milliseconds: Date.now() - run.startedAt,
  };
  return {
    ...run,
    stage: fromIssuer && query.has('code') && !query.has('error') ? 'redeeming' : 'finished',
    steps: [...run.steps, step],
  };
}

/** What came of a chain of calls: steps to append, and tokens when there are new ones. */
export type Progress = { steps: Step[]; tokens?: Tokens | undefined };

/** Swaps the code for tokens, checks the ID token, and asks who the person is. Stops where a step fails. */
export async function redeemCode(run: Run, site: Site): Promise<Progress> {
  const { endpoints, request } = run;
  const response = run.steps.find((step) => step.name === 'authorization-response');
  const code = response?.parameters.find(([name]) => name === 'code')?.[1];
  if (!endpoints || code === undefined) return { steps: [] };

  const token = await exchange({
    method: 'POST',
    url: endpoints.token_endpoint,
    form: [
      ['grant_type', 'authorization_code'],
      ['code', code],
      ['client_id', clientId],
      ['code_verifier', request.codeVerifier],
      ['redirect_uri', redirectUri(site.origin)],
    ],
  });
  const steps: Step[] = [{ name: 'token', exchange: token }];
  const { data } = TokenResponse.safeParse(resultOf(token));
  if (!data) return { steps };

  const tokens: Tokens = { access: data.access_token, refresh: data.refresh_token, id: data.id_token };
  const read = await readIdToken(endpoints, tokens, { issuer: site.issuer, nonce: request.nonce });
  steps.push(read);
  // OIDC Core §3.1.3.7: what comes with an ID token that fails its checks is not used.
  if (!read.findings || !isGood(read.findings)) return { steps };
  steps.push(await askUserinfo(endpoints, tokens));
  return { steps, tokens };
}

/** Fetches the issuer's keys and checks the ID token against them. */
export async function readIdToken(
  endpoints: Endpoints,
  tokens: Tokens,
  expected: Pick<Expected, 'issuer' | 'nonce' | 'sub'>,
): Promise<Extract<Step, { name: 'id-token' }>> {
  const keys: Exchange = await exchange({ method: 'GET', url: endpoints.jwks_uri });
  const jwks = resultOf(keys);
  const findings = jwks && (await checkIdToken(tokens.id, jwks, { ...expected, clientId, accessToken: tokens.access }));
  return { name: 'id-token', keys, findings };
}

async function askUserinfo(endpoints: Endpoints, tokens: Tokens): Promise<Step> {
  const done = await exchange({
    method: 'GET',
    url: endpoints.userinfo_endpoint,
    headers: [['authorization', `Bearer ${tokens.access}`]],
  });
  // OIDC Core §5.3.2: claims about anybody else are not used.
  const sub = resultOf(done)?.sub;
  const checks = sub === undefined ? [] : [check('sub', sub === decodeJwt(tokens.id)?.claims.sub)];
  return { name: 'userinfo', exchange: done, checks };
}

export function check(name: string, ok: boolean): { text: string; ok: boolean } {
  return { text: `${name} ${ok ? 'matches' : 'does not match'}`, ok };
}
