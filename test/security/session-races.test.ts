/** One session, many requests at once: nothing a tab was given is lost, and nothing that ended comes back. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createStranger, type Person } from '../support/person.ts';
import {
  discover,
  type RelyingParty,
  registerAccount,
  registerClient,
  signIn,
  signInThrough,
} from '../support/relying-party.ts';

const times = 20;

let app: TestApp;
let ada: Awaited<ReturnType<typeof registerAccount>>;
let fernwood: RelyingParty;
let kestrel: RelyingParty;

beforeAll(async () => {
  // Each person comes from an address of their own, so that the limits per address do not take part.
  app = await startApp({ env: { TRUST_PROXY: '1' } });
  fernwood = await discover(app, await registerClient(app));
  kestrel = await discover(app, await registerClient(app, { client_name: 'Kestrel Cycling' }));
  ada = await registerAccount(app);
  for (const rp of [fernwood, kestrel]) await signInThrough(app, rp, ada, { person: newPerson() });
});
afterAll(() => app.close());

const newPerson = () => createStranger(app);

async function signedIn(): Promise<Person> {
  const person = newPerson();
  await signIn(person, await person.open('/auth/login'), ada);
  return person;
}

type Started = Awaited<ReturnType<RelyingParty['start']>>;

async function isTokenAlive(rp: RelyingParty, accessToken: string): Promise<boolean> {
  return (await rp.introspect(accessToken)).active;
}

async function silently(person: Person, rp: RelyingParty): Promise<string> {
  const { left } = await person.open((await rp.start({ prompt: 'none' })).url);
  return left?.searchParams.get('error') ?? 'signed in';
}

test(`two clients authorised at once both keep what they got, ${times} times`, { timeout: 60_000 }, async () => {
  for (let round = 0; round < times; round += 1) {
    const person = await signedIn();
    const tokens = await Promise.all(
      [fernwood, kestrel].map(async (rp) => {
        const request = await rp.start();
        const { left } = await person.open(request.url);
        return (await request.finish(left as URL)).access_token;
      }),
    );
    const [first = '', second = ''] = tokens;
    expect([await isTokenAlive(fernwood, first), await isTokenAlive(kestrel, second)]).toEqual([true, true]);
    await expect(fernwood.userinfo(first, ada.sub)).resolves.toMatchObject({ sub: ada.sub });
    // The session knows of both, so its end is theirs.
    await person.open('/auth/logout', { method: 'POST', body: new URLSearchParams() });
    expect([await isTokenAlive(fernwood, first), await isTokenAlive(kestrel, second)]).toEqual([false, false]);
  }
});

test(`a request under way does not bring a session back that was signed out meanwhile, ${times} times`, {
  timeout: 60_000,
}, async () => {
  for (let round = 0; round < times; round += 1) {
    const person = await signedIn();
    const before = new Map(person.jar);
    const requests = await Promise.all([fernwood.start(), kestrel.start()]);
    const [answers] = await Promise.all([
      Promise.all(requests.map(({ url }) => person.open(url))),
      person.request('/auth/logout', { method: 'POST', body: new URLSearchParams() }),
    ]);
    // The browser may have been given a cookie by the slower request: neither that one nor the first leads anywhere.
    for (const jar of [before, new Map(person.jar)]) {
      for (const [key, cookie] of jar) person.jar.set(key, cookie);
      expect(await silently(person, fernwood)).toBe('login_required');
    }
    for (const [index, { left }] of answers.entries()) await expectNothingGained(requests[index] as Started, left);
  }
});

/** A code that came out of the race buys nothing that lives on. */
async function expectNothingGained(request: Started, left: URL | undefined): Promise<void> {
  if (!left?.searchParams.has('code')) return;
  const tokens = await request.finish(left).catch(() => undefined);
  if (tokens) await expect(fernwood.userinfo(tokens.access_token, ada.sub)).rejects.toThrow();
}
