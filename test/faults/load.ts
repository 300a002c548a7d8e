/** People and a client who use a server all the time, and write down what they were told (ledger.ts). */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, vi } from 'vitest';
import { createPerson, type Page, readCheckboxes } from '../support/person.ts';
import { password, type Registration, registerClient } from '../support/relying-party.ts';
import {
  type Account,
  addressOf,
  type Chain,
  clientOf,
  cookieOf,
  emptyLedger,
  expectKept,
  type Provider,
} from './ledger.ts';

export type Load = {
  /** Resolves when so many more things were acknowledged. */
  served(more: number): Promise<void>;
  /** Resolves when so many more requests were answered "not now", or not at all. */
  refused(more: number): Promise<void>;
  /** Lets what is under way come to its end, and asks for everything that was acknowledged. */
  stopAndCheck(): Promise<void>;
};

/** Not answered, or with "not now": whoever asked tries again. */
class NotNow extends Error {}

const patience = { timeout: 100_000, interval: 20 };
const retryMs = 50;

/** `people` of them at once, each with a new account, and again. */
export async function startLoad(provider: Provider, { people = 3 }: { people?: number } = {}): Promise<Load> {
  const registration = await registerClient(provider, {}, addressOf(0));
  const client = clientOf(provider, registration);
  const ledger = emptyLedger();
  let [served, refused, count] = [0, 0, 0];
  let going = true;

  const everybody = Array.from({ length: people }, async () => {
    while (going) {
      count += 1;
      try {
        await live(count);
      } catch (error) {
        if (!(error instanceof NotNow)) ledger.unexpected.push(error instanceof Error ? `${error.stack}` : `${error}`);
        await delay(retryMs);
      }
    }
  });

  /** One person's day. `number` decides how it ends. */
  async function live(number: number): Promise<void> {
    const from = addressOf(number);
    const person = createPerson(provider.origin, from);
    const account = await register(from);
    if (number % 2 === 0) ledger.clients.push(acknowledged(await addClient(from)));

    const start = await opened(person.open(client.authorizeUrl({ prompt: 'consent' })));
    const consent = await opened(person.submit(start, 'login', { email: account.email, password }, 'login-submit'));
    const signedIn = acknowledged({ cookie: cookieOf(person), email: account.email });
    const scope = Object.keys(readCheckboxes(consent.html, 'scope'));
    const claim = Object.keys(readCheckboxes(consent.html, 'claim'));
    const code = codeOf(await opened(person.submit(consent, 'consent', { scope, claim }, 'consent-approve')));
    ledger.consents.push(acknowledged(account));
    const signsOut = number % 3 === 0;
    if (!signsOut) ledger.signedIn.push({ ...signedIn, cookie: cookieOf(person) });

    const chain = chainOf(await answered(client.redeem(code, from)));
    acknowledged(chain);
    if (number % 4 === 1) ledger.codes.push({ code });
    // A code that comes again ends all that it was good for: such a chain is not looked at.
    else ledger.chains.push(chain);
    for (let round = 0; round < 4 && going; round += 1) await refresh(chain, from);
    if (number % 4 === 2) await revoke(chain, from);
    if (signsOut) await signOut(person, from);
  }

  async function register(from: Record<string, string>): Promise<Account> {
    const email = `${randomBytes(6).toString('hex')}@moreno.example`;
    const { sub } = await answered(postJson('/auth/register', { email, password, name: 'Ada Moreno' }, from));
    const account = { sub: String(sub), email };
    ledger.accounts.push(acknowledged(account));
    return account;
  }

  async function addClient(from: Record<string, string>): Promise<Registration> {
    const metadata = { redirect_uris: [`${provider.origin}/callback`], token_endpoint_auth_method: 'none' };
    return (await answered(postJson('/clients', metadata, from))) as Registration;
  }

  /** Whoever hears nothing asks again with the same token. */
  async function refresh(chain: Chain, from: Record<string, string>): Promise<void> {
    const answer = await insist(() => client.refresh(chain.refreshToken, from));
    const { refreshToken, accessTokens } = chainOf(answer);
    Object.assign(chain, { refreshToken, accessTokens: [...chain.accessTokens, ...accessTokens] });
    acknowledged(chain);
  }

  async function revoke(chain: Chain, from: Record<string, string>): Promise<void> {
    ledger.chains.splice(ledger.chains.indexOf(chain), 1);
    await insist(() => client.revoke(chain.refreshToken, from));
    ledger.revoked.push(acknowledged(chain));
  }

  async function signOut(person: ReturnType<typeof createPerson>, from: Record<string, string>): Promise<void> {
    const cookie = cookieOf(person);
    await insist(() => postJson('/auth/logout', {}, { ...from, cookie, origin: provider.origin }));
    ledger.signedOut.push(acknowledged({ cookie }));
  }

  /** Until it is answered. What has been asked for may have happened already: it can be asked for twice. */
  async function insist(ask: () => Promise<Response>): Promise<Record<string, unknown>> {
    for (;;) {
      try {
        return await answered(ask());
      } catch (error) {
        if (!(error instanceof NotNow) || !going) throw error;
        await delay(retryMs);
      }
    }
  }

  function postJson(path: string, body: object, headers: Record<string, string>): Promise<Response> {
    const json = { 'content-type': 'application/json', accept: 'application/json' };
    return fetch(provider.origin + path, {
      method: 'POST',
      headers: { ...json, ...headers },
      body: JSON.stringify(body),
    });
  }

  /** The JSON of a good answer, {} when there is none. */
  async function answered(asked: Promise<Response>): Promise<Record<string, unknown>> {
    const { status, headers, text } = await heard(
      asked.then(async (answer) => {
        const { status, headers } = answer;
        return { status, headers, text: await answer.text() };
      }),
    );
    expectNow(status, headers, text);
    if (status >= 300) throw new Error(`${status}: ${text}`);
    return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
  }

  async function opened(opening: Promise<Page>): Promise<Page> {
    const page = await heard(opening);
    if (!page.left) expectNow(page.status, page.headers, page.html);
    if (!page.left && page.status >= 400) throw new Error(`${page.status} at ${page.url}: ${page.html}`);
    if (page.left?.searchParams.get('error') === 'temporarily_unavailable') throw notNow();
    return page;
  }

  async function heard<T>(asked: Promise<T>): Promise<T> {
    return asked.catch((error: unknown) => {
      // What fetch says of a connection that ends.
      if (error instanceof TypeError && /fetch failed|terminated/.test(error.message)) throw notNow();
      throw error;
    });
  }

  function expectNow(status: number, headers: Headers, text: string): void {
    // A proxy's own words when its server is gone are 502.
    if (status !== 503) return;
    if (!headers.has('retry-after')) ledger.unexpected.push(`503 without Retry-After: ${text}`);
    throw notNow();
  }

  function notNow(): NotNow {
    refused += 1;
    return new NotNow();
  }

  function acknowledged<T>(what: T): T {
    served += 1;
    return what;
  }

  const until = async (reached: () => boolean) => {
    const isOver = () => ledger.unexpected.length > 0 || reached();
    await vi.waitUntil(isOver, patience);
    expect(ledger.unexpected.join('\n')).toBe('');
  };
  return {
    async served(more) {
      const target = served + more;
      await until(() => served >= target);
    },
    async refused(more) {
      const target = refused + more;
      await until(() => refused >= target);
    },
    async stopAndCheck() {
      going = false;
      await Promise.all(everybody);
      await expectKept(provider, registration, ledger);
    },
  };
}

function codeOf({ left, url, html }: Page): string {
  const code = left?.searchParams.get('code');
  if (!code) throw new Error(`no code at ${url}: ${html}`);
  return code;
}

function chainOf({ refresh_token, access_token }: Record<string, unknown>): Chain {
  return { refreshToken: String(refresh_token), accessTokens: [String(access_token)] };
}
