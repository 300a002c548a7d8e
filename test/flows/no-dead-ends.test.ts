/** Whatever a browser does in the middle of a sign-in, the page says what happened and leads on. */
import * as client from 'openid-client';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createStranger, type Page, type Person, readText } from '../support/person.ts';
import {
  allow,
  discover,
  password,
  type RelyingParty,
  registerAccount,
  registerClient,
  signIn,
} from '../support/relying-party.ts';

let app: TestApp;
let rp: RelyingParty;
let ada: Awaited<ReturnType<typeof registerAccount>>;
let bob: Awaited<ReturnType<typeof registerAccount>>;

beforeAll(async () => {
  // Each person comes from an address of their own, so that the limits per address do not take part.
  app = await startApp({ env: { TRUST_PROXY: '1' } });
  rp = await discover(app, await registerClient(app));
  ada = await registerAccount(app, { name: 'Ada Moreno' });
  bob = await registerAccount(app, { name: 'Bob Okafor' });
});
afterAll(() => app.close());
afterEach(() => {
  vi.useRealTimers();
});

const newPerson = () => createStranger(app);

function expectInterrupted(page: Page, why: RegExp): void {
  expect(page.status).toBe(400);
  const text = readText(page.html);
  expect(text).toContain('This sign-in got interrupted');
  expect(text).toMatch(why);
  expect(text).toContain('Start again with Fernwood Library');
}

/** The way on that an interrupted page offers: the filled button. */
function wayOn(page: Page): string {
  const link = /<a class="btn (?:main wide|wide main)" href="([^"]+)"/.exec(page.html)?.[1];
  if (!link) throw new Error(`no way on: ${readText(page.html)}`);
  return link.replaceAll('&amp;', '&');
}

/** Goes on from wherever the flow is, until the relying party has tokens for `account`. */
async function finish(person: Person, from: Page, request: Awaited<ReturnType<RelyingParty['start']>>, account = ada) {
  let page = from;
  if (page.html.includes('id="login"')) page = await signIn(person, page, account);
  if (page.html.includes('id="consent"')) page = await allow(person, page);
  const tokens = await request.finish(page.left as URL);
  expect(tokens.claims()?.sub).toBe(account.sub);
}

async function restart(
  person: Person,
  interrupted: Page,
  request: Awaited<ReturnType<RelyingParty['start']>>,
  who = ada,
) {
  await finish(person, await person.open(wayOn(interrupted)), request, who);
}

const noBody = { method: 'POST', body: new URLSearchParams() };
const signOut = (person: Person) => person.open('/auth/logout', noBody);
const credentials = (account: { email: string }) => ({ email: account.email, password });

/** Sends the sign-in form of an interaction without following where the answer leads. */
function pressSignIn(person: Person, page: Page, account = ada): Promise<Response> {
  return person.request(`${page.url}/login`, { method: 'POST', body: new URLSearchParams(credentials(account)) });
}

describe('second tab', () => {
  test('two tabs sign in one after the other, and both get their answer', async () => {
    const person = newPerson();
    const [one, two] = [await rp.start(), await rp.start()];
    const [first, second] = [await person.open(one.url), await person.open(two.url)];
    await finish(person, first, one);
    await finish(person, second, two);
  });

  test('a tab that still asks to sign in goes on when it is loaded again after another tab signed in', async () => {
    const person = newPerson();
    const [one, two] = [await rp.start(), await rp.start()];
    const [first, second] = [await person.open(one.url), await person.open(two.url)];
    await finish(person, first, one);
    const reloaded = await person.open(second.url);
    expect(reloaded.html).not.toContain('id="login"');
    await finish(person, reloaded, two);
  });

  test('an open consent is not given in the name of another account that signed in there', async () => {
    const person = newPerson();
    const request = await rp.start();
    const consent = await signIn(person, await person.open(request.url), await registerAccount(app));
    await signOut(person);
    await signIn(person, await person.open('/auth/login'), bob);
    const lost = await allow(person, consent);
    expectInterrupted(lost, /Somebody else signed in here/);
    const again = await person.open(wayOn(lost));
    expect(again.left ?? readText(again.html)).toContain(bob.email);
    await finish(person, again, request, bob);
  });

  test('a sign-in that another account overtook is not finished in either name', async () => {
    const person = newPerson();
    const request = await rp.start();
    const answer = await pressSignIn(person, await person.open(request.url), ada);
    await person.request('/auth/login', { method: 'POST', body: new URLSearchParams(credentials(bob)) });
    const lost = await person.open(answer.headers.get('location') as string);
    expectInterrupted(lost, /Somebody else signed in here/);
    await restart(person, lost, request, bob);
  });

  test('an open consent of a session that was signed out there asks to sign in again', async () => {
    const person = newPerson();
    const request = await rp.start({ prompt: 'consent' });
    const consent = await signIn(person, await person.open(request.url), ada);
    await signOut(person);
    const lost = await allow(person, consent);
    expectInterrupted(lost, /no longer remembers it/);
    const again = await person.open(wayOn(lost));
    expect(again.html).toContain('id="login"');
    await finish(person, again, request);
  });
});

describe('back button', () => {
  test.each(['', '/login', '/register'])('a finished step (%s) leads on to the same app', async (step) => {
    const person = newPerson();
    const request = await rp.start();
    const page = await person.open(request.url);
    await finish(person, page, request);
    const lost = await person.open(page.url + step);
    expectInterrupted(lost, /already finished/);
    const again = await person.open(wayOn(lost));
    expect(again.left?.searchParams.get('code')).toBeTruthy();
  });

  test('from consent to the sign-in before it, and on from there', async () => {
    const person = newPerson();
    const request = await rp.start({ prompt: 'consent' });
    const page = await person.open(request.url);
    const consent = await signIn(person, page, ada);
    expect(consent.html).toContain('id="consent"');
    const lost = await signIn(person, page, ada);
    expectInterrupted(lost, /already finished/);
    const again = await person.open(wayOn(lost));
    expect(again.html).toContain('id="consent"');
    await finish(person, again, request);
  });

  test('from the app to a consent that was given, or refused', async () => {
    for (const button of ['consent-approve', 'consent-deny']) {
      const person = newPerson();
      const request = await rp.start({ prompt: 'consent' });
      const consent = await signIn(person, await person.open(request.url), ada);
      expect((await person.submit(consent, 'consent', {}, button)).left).toBeDefined();
      const lost = await person.open(consent.url);
      expectInterrupted(lost, /already finished/);
      await restart(person, lost, request);
    }
  });
});

describe('double submit', () => {
  test('of sign-in: the answer to the second press finishes the flow', async () => {
    const person = newPerson();
    const request = await rp.start();
    const page = await person.open(request.url);
    const [, second] = await Promise.all([pressSignIn(person, page), pressSignIn(person, page)]);
    expect(second.status).toBe(303);
    await finish(person, await person.open(second.headers.get('location') as string), request);
  });

  test('of sign-in: when the first press was answered already, the second leads on', async () => {
    const person = newPerson();
    const request = await rp.start();
    const page = await person.open(request.url);
    const [first, second] = [await pressSignIn(person, page), await pressSignIn(person, page)];
    await finish(person, await person.open(first.headers.get('location') as string), request);
    const lost = await person.open(second.headers.get('location') as string);
    expectInterrupted(lost, /already finished/);
    await restart(person, lost, request);
  });

  test('of consent: both presses at once, either answer finishes the flow', async () => {
    const person = newPerson();
    const request = await rp.start({ prompt: 'consent' });
    const consent = await signIn(person, await person.open(request.url), ada);
    const press = () =>
      person.request(`${consent.url}/consent`, {
        method: 'POST',
        body: new URLSearchParams({ decision: 'allow', scope: 'profile' }),
      });
    const [first, second] = await Promise.all([press(), press()]);
    expect([first.status, second.status]).toEqual([303, 303]);
    await finish(person, await person.open(second.headers.get('location') as string), request);
    const lost = await person.open(first.headers.get('location') as string);
    expectInterrupted(lost, /already finished/);
    await restart(person, lost, request);
  });
});

describe('an expired step', () => {
  const later = 61 * 60 * 1000;

  test('of sign-in says so, and starts the same request again', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const person = newPerson();
    const request = await rp.start();
    const page = await person.open(request.url);
    vi.setSystemTime(Date.now() + later);
    expectInterrupted(await person.open(page.url), /waited too long/);
    const lost = await signIn(person, page, ada);
    expectInterrupted(lost, /waited too long/);
    await restart(person, lost, request);
  });

  test('of consent says so, and the sign-in still counts', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const person = newPerson();
    const request = await rp.start({ scope: 'openid phone' });
    const consent = await signIn(person, await person.open(request.url), ada);
    vi.setSystemTime(Date.now() + later);
    const lost = await allow(person, consent);
    expectInterrupted(lost, /waited too long/);
    const again = await person.open(wayOn(lost));
    expect(again.html).toContain('id="consent"');
    await finish(person, again, request);
  });

  test('of a request that the app itself pushed leads back to the app', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const pushing = await discover(app, await registerClient(app, { client_uri: 'https://fernwood.example/' }));
    const { url } = await pushing.start();
    const pushed = await client.buildAuthorizationUrlWithPAR(pushing.config, new URL(url).searchParams);
    const person = newPerson();
    const page = await person.open(pushed.href);
    expect(page.html).toContain('id="login"');
    vi.setSystemTime(Date.now() + later);
    const lost = await person.open(page.url);
    expect(readText(lost.html)).toContain('Start again at Fernwood Library');
    expect(wayOn(lost)).toBe('https://fernwood.example/');
  });

  test('that nobody knows of any more still has a way on', async () => {
    for (const path of ['/auth/interaction/unknown', '/oidc/auth/unknown']) {
      const page = await newPerson().open(path);
      expect(page.status).toBe(400);
      expect(readText(page.html)).toContain('This sign-in got interrupted');
      expect((await newPerson().open(wayOn(page))).status).toBe(200);
    }
  });
});

describe('another browser', () => {
  test.each(['', '/login', '/register'])(
    'opening %s of an interaction may start the same request, not take it over',
    async (step) => {
      const [person, other] = [newPerson(), newPerson()];
      const request = await rp.start();
      const page = await person.open(request.url);
      const lost = await other.open(page.url + step);
      expectInterrupted(lost, /started in another browser/);
      await restart(other, lost, request, bob);
      const own = await person.open(page.url);
      expect(own.html).toContain('id="login"');
    },
  );

  test('the resume address without its cookie leads on to the same app', async () => {
    const [person, other] = [newPerson(), newPerson()];
    const request = await rp.start();
    const answer = await pressSignIn(person, await person.open(request.url), ada);
    const lost = await other.open(answer.headers.get('location') as string);
    expectInterrupted(lost, /started in another browser/);
    await restart(other, lost, request, bob);
    await finish(person, await person.open(answer.headers.get('location') as string), request);
  });
});

describe('stale cookies', () => {
  test('of a session that is over ask to sign in again', async () => {
    const person = newPerson();
    const first = await rp.start();
    await finish(person, await person.open(first.url), first);
    const stale = new Map(person.jar);
    await signOut(person);
    for (const [key, cookie] of stale) person.jar.set(key, cookie);
    const request = await rp.start();
    const page = await person.open(request.url);
    expect(page.html).toContain('id="login"');
    await finish(person, page, request);
  });

  test('that were lost in the middle of a step lead on to the same app', async () => {
    const person = newPerson();
    const request = await rp.start();
    const page = await person.open(request.url);
    person.jar.clear();
    const lost = await signIn(person, page, ada);
    expectInterrupted(lost, /no longer remembers it/);
    await restart(person, lost, request);
  });

  test('that somebody changed count as none', async () => {
    const person = newPerson();
    const request = await rp.start();
    const page = await person.open(request.url);
    for (const [key, cookie] of person.jar) {
      if (key.includes('.sig ')) person.jar.set(key, { ...cookie, value: 'x'.repeat(27) });
    }
    const lost = await person.open(page.url);
    expectInterrupted(lost, /no longer remembers it/);
    await restart(person, lost, request);
  });
});

test('a program is told in JSON', async () => {
  const response = await fetch(`${app.origin}/auth/interaction/unknown`, { headers: { accept: 'application/json' } });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ error: 'interaction_lost' });
});
