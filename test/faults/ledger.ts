/**
 * What a server has acknowledged, written down by those who were told, and asked for again after a fault: all of it must
 * still be so. What was not answered, or with "not now", may have happened or not.
 */
import { expect } from 'vitest';
import { createPerson, type Person } from '../support/person.ts';
import { password, type Registration } from '../support/relying-party.ts';

export type Provider = { origin: string; issuer: string };
export type Account = { sub: string; email: string };

/** What a client got for one sign-in: the newest refresh token, and every access token that it was given. */
export type Chain = { refreshToken: string; accessTokens: string[] };

export type Ledger = {
  accounts: Account[];
  clients: Registration[];
  /** Who allowed the client what it asks. */
  consents: Account[];
  /** Browsers that were signed in, and those that were signed out, with the cookies of before. */
  signedIn: { cookie: string; email: string }[];
  signedOut: { cookie: string }[];
  chains: Chain[];
  revoked: Chain[];
  /** Codes that were redeemed. */
  codes: { code: string }[];
  /** Answers that nobody should ever get, whatever the fault. */
  unexpected: string[];
};

export function emptyLedger(): Ledger {
  const lists = { accounts: [], clients: [], consents: [], signedIn: [], signedOut: [], chains: [], revoked: [] };
  return { ...lists, codes: [], unexpected: [] };
}

/** A caller's address of its own, so that no limit is met; the server trusts this machine's proxy. */
export function addressOf(count: number): Record<string, string> {
  return { 'x-forwarded-for': `10.${(count >> 16) & 255}.${(count >> 8) & 255}.${count & 255}` };
}

export function cookieOf(person: Person): string {
  return [...person.jar].map(([key, { value }]) => `${key.split(' ')[0]}=${value}`).join('; ');
}

/** The requests of a client. Its redirect address is where createPerson stops. */
export function clientOf({ origin, issuer }: Provider, { client_id, client_secret = '' }: Registration) {
  const authorization = `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString('base64')}`;
  const redirect_uri = `${origin}/callback`;
  const post = (path: string, parameters: Record<string, string>, from: Record<string, string> = {}) =>
    fetch(`${issuer}${path}`, {
      method: 'POST',
      headers: { ...from, authorization },
      body: new URLSearchParams(parameters),
    });
  return {
    authorizeUrl(parameters: Record<string, string> = {}) {
      const asked = { client_id, response_type: 'code', redirect_uri, scope: 'openid email offline_access' };
      return `${issuer}/auth?${new URLSearchParams({ ...asked, ...parameters })}`;
    },
    redeem: (code: string, from?: Record<string, string>) =>
      post('/token', { grant_type: 'authorization_code', code, redirect_uri }, from),
    refresh: (refresh_token: string, from?: Record<string, string>) =>
      post('/token', { grant_type: 'refresh_token', refresh_token }, from),
    revoke: (token: string, from?: Record<string, string>) => post('/revocation', { token }, from),
    introspect: async (token: string) => {
      const answer = await post('/introspection', { token }, addressOf(nextCount()));
      return (await answer.json()) as { active: boolean };
    },
  };
}

let count = 0xff0000;
const nextCount = () => (count += 1);

/** Asks for everything in the ledger. Every list must have something in it: else the load was none. */
export async function expectKept(provider: Provider, registration: Registration, ledger: Ledger): Promise<void> {
  const { unexpected, ...lists } = ledger;
  expect(unexpected).toEqual([]);
  for (const [name, list] of Object.entries(lists)) expect(list.length, name).toBeGreaterThan(0);
  const client = clientOf(provider, registration);
  const lost: unknown[] = [];
  const each = <Item>(what: string, items: readonly Item[], isKept: (item: Item) => Promise<boolean>) =>
    inTurns(items, async (item) => (await isKept(item)) || lost.push([what, item]));
  const consented = new Set(ledger.consents.map(({ sub }) => sub));

  await each('account', ledger.accounts, async ({ sub, email }) => {
    const from = addressOf(nextCount());
    const person = createPerson(provider.origin, from);
    const headers = { 'content-type': 'application/json', accept: 'application/json' };
    const body = JSON.stringify({ email, password });
    const login = await person.request('/auth/login', { method: 'POST', headers, body });
    if (((await login.json()) as Account).sub !== sub) return false;
    if (!consented.has(sub)) return true;
    const { left } = await person.open(client.authorizeUrl());
    return left?.searchParams.has('code') === true || lost.push(['consent', sub]) > 0;
  });
  await each('client', ledger.clients, async ({ client_id, registration_access_token }) => {
    const headers = { authorization: `Bearer ${registration_access_token}` };
    return (await statusOf(fetch(`${provider.origin}/clients/${client_id}`, { headers }))) === 200;
  });
  const accountPage = (cookie: string) =>
    fetch(`${provider.origin}/account`, { headers: { cookie, accept: 'text/html' }, redirect: 'manual' });
  await each('session', ledger.signedIn, async ({ cookie, email }) =>
    (await (await accountPage(cookie)).text()).includes(email),
  );
  await each('sign-out', ledger.signedOut, async ({ cookie }) => (await statusOf(accountPage(cookie))) === 303);
  await each('access token', ledger.chains, async ({ accessTokens }) => {
    const answers = await Promise.all(accessTokens.map(client.introspect));
    return answers.every(({ active }) => active);
  });
  await each('refresh token', ledger.chains, async ({ refreshToken }) => {
    return (await statusOf(client.refresh(refreshToken, addressOf(nextCount())))) === 200;
  });
  await each('revocation', ledger.revoked, async ({ refreshToken, accessTokens }) => {
    const answers = await Promise.all([refreshToken, ...accessTokens].map(client.introspect));
    return answers.every(({ active }) => !active);
  });
  // Last, since a replay ends what the code was good for.
  await each('use of a code', ledger.codes, async ({ code }) => {
    return (await statusOf(client.redeem(code, addressOf(nextCount())))) === 400;
  });
  expect(lost).toEqual([]);
}

async function statusOf(answer: Promise<Response>): Promise<number> {
  const { status, body } = await answer;
  await body?.cancel();
  return status;
}

/** A few at a time: what is asked for again is to be found, and not to be a load. */
async function inTurns<Item>(items: readonly Item[], work: (item: Item) => Promise<unknown>): Promise<void> {
  const left = [...items];
  const worker = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: 4 }, worker));
}
