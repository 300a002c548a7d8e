import { decodeJwt } from '../keys/verify-jwt.ts';
import { clientId } from './client.ts';
import type { Endpoints } from './discovery.ts';
import { type Exchange, exchange, resultOf } from './exchange.ts';
import { isGood } from './id-token.ts';
import type { Run, Tokens } from './run.ts';
import { check, type Progress, readIdToken, type Site, TokenResponse } from './sign-in.ts';

/** What can be done with the tokens of a run, any number of times. */
export type TokenAction = 'refresh' | 'introspection' | 'revocation';

export async function useTokens(action: TokenAction, run: Run, site: Site): Promise<Progress> {
  const { endpoints, tokens } = run;
  if (!endpoints || !tokens) return { steps: [] };
  if (action === 'refresh') return refresh(endpoints, tokens, site);
  if (action === 'introspection') return { steps: [await introspect(endpoints, tokens)] };
  return revoke(endpoints, tokens);
}

/** RFC 6749 §6; the ID token that comes along is checked as OIDC Core §12.2 asks. */
async function refresh(endpoints: Endpoints, tokens: Tokens, { issuer }: Site): Promise<Progress> {
  if (tokens.refresh === undefined) return { steps: [{ name: 'no-refresh-token' }] };
  const done = await exchange({
    method: 'POST',
    url: endpoints.token_endpoint,
    form: [
      ['grant_type', 'refresh_token'],
      ['refresh_token', tokens.refresh],
      ['client_id', clientId],
    ],
  });
  const { data } = TokenResponse.safeParse(resultOf(done));
  if (!data) return { steps: [{ name: 'refresh', exchange: done, checks: [] }] };

  const fresh: Tokens = { access: data.access_token, refresh: data.refresh_token ?? tokens.refresh, id: data.id_token };
  const sub = decodeJwt(tokens.id)?.claims.sub;
  const { findings } = await readIdToken(endpoints, fresh, {
    issuer,
    nonce: undefined,
    sub: typeof sub === 'string' ? sub : undefined,
  });
  const good = findings !== undefined && isGood(findings);
  const verified = { text: good ? 'new ID token verified' : 'new ID token not accepted', ok: good };
  const checks = [verified, check('sub', findings?.claims.sub === true)];
  return { steps: [{ name: 'refresh', exchange: done, checks }], ...(good && { tokens: fresh }) };
}

/** RFC 7662 §2.1. */
async function introspect(endpoints: Endpoints, tokens: Tokens): Promise<Progress['steps'][number]> {
  return { name: 'introspection', exchange: await present(endpoints.introspection_endpoint, tokens.access, 'access') };
}

/** RFC 7009 §2.1: the token that lives longest, and then a look at what that did to the access token. */
async function revoke(endpoints: Endpoints, tokens: Tokens): Promise<Progress> {
  const token = tokens.refresh === undefined ? 'access' : 'refresh';
  const done = await present(endpoints.revocation_endpoint, tokens.refresh ?? tokens.access, token);
  const step = { name: 'revocation', exchange: done, token } as const;
  return { steps: done.response?.status === 200 ? [step, await introspect(endpoints, tokens)] : [step] };
}

function present(url: string, token: string, hint: 'access' | 'refresh'): Promise<Exchange> {
  return exchange({
    method: 'POST',
    url,
    form: [
      ['token', token],
      ['token_type_hint', `${hint}_token`],
      ['client_id', clientId],
    ],
  });
}
