/** An interaction belongs to the browser that it began in (SECURITY 29). */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createStranger, type Page, type Person } from '../support/person.ts';
import {
  allow,
  discover,
  type RelyingParty,
  registerAccount,
  registerClient,
  signIn,
  signInThrough,
} from '../support/relying-party.ts';

let app: TestApp;
let rp: RelyingParty;
let ada: Awaited<ReturnType<typeof registerAccount>>;
let mallory: Awaited<ReturnType<typeof registerAccount>>;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
  rp = await discover(app, await registerClient(app));
  ada = await registerAccount(app);
  mallory = await registerAccount(app);
});
afterAll(() => app.close());

const newPerson = () => createStranger(app);

const post = (person: Person, path: string, body: Record<string, string>) =>
  person.request(path, { method: 'POST', body: new URLSearchParams(body) });

describe('somebody who knows its address', () => {
  let victim: Person;
  let request: Awaited<ReturnType<RelyingParty['start']>>;
  let page: Page;

  beforeEach(async () => {
    victim = newPerson();
    request = await rp.start({ prompt: 'login consent' });
    page = await victim.open(request.url);
  });

  /** Every answer to every step, from a browser that has no right to give it. */
  async function expectRefused(person: Person): Promise<void> {
    const steps: [string, Record<string, string>][] = [
      ['/login', { email: mallory.email, password: mallory.password }],
      ['/register', { email: `${crypto.randomUUID()}@evil.example`, password: 'long enough', name: 'Mallory' }],
      ['/consent', { decision: 'allow', scope: 'profile' }],
      ['/abort', {}],
    ];
    for (const [step, body] of steps) {
      const response = await post(person, page.url + step, body);
      expect([step, response.status]).toEqual([step, 400]);
      expect(await response.text()).toContain('This sign-in got interrupted');
    }
    for (const step of ['', '/login', '/register']) {
      expect([step, (await person.request(page.url + step)).status]).toEqual([step, 400]);
    }
    expect((await person.request(page.url.replace('/auth/interaction/', '/oidc/auth/'))).status).toBe(400);
  }

  async function expectVictimGoesOn(): Promise<void> {
    const consent = await signIn(victim, await victim.open(page.url), ada);
    const tokens = await request.finish((await allow(victim, consent)).left as URL);
    expect(tokens.claims()?.sub).toBe(ada.sub);
  }

  test('cannot answer it from a browser of their own', async () => {
    await expectRefused(newPerson());
    await expectVictimGoesOn();
  });

  test('cannot answer it while signed in, nor with the cookie of another interaction', async () => {
    const { person: attacker } = await signInThrough(app, rp, mallory, { person: newPerson() });
    await attacker.open((await rp.start({ prompt: 'login' })).url);
    const path = new URL(page.url).pathname;
    for (const [key, cookie] of [...attacker.jar]) {
      const [name = ''] = key.split(' ');
      if (name.includes('interaction')) attacker.jar.set(`${name} ${path}`, { ...cookie, path });
    }
    await expectRefused(attacker);
    await expectVictimGoesOn();
  });

  test('cannot make its cookie: the name is known, the signature is not', async () => {
    const attacker = newPerson();
    const uid = page.url.split('/').at(-1) ?? '';
    for (const [name, path] of [
      ['interaction', `/auth/interaction/${uid}`],
      ['resume', `/oidc/auth/${uid}`],
    ]) {
      attacker.jar.set(`latchkey_${name} ${path}`, { value: uid, path: path as string });
      attacker.jar.set(`latchkey_${name}.sig ${path}`, { value: 'A'.repeat(27), path: path as string });
    }
    await expectRefused(attacker);
    await expectVictimGoesOn();
  });
});

test('an answer to one question is none to another: consent before sign-in shares nothing', async () => {
  const person = newPerson();
  const page = await person.open((await rp.start()).url);
  const answer = await post(person, `${page.url}/consent`, { decision: 'allow', scope: 'profile' });
  expect([answer.status, answer.headers.get('location')]).toEqual([303, new URL(page.url).pathname]);
  expect((await person.open(page.url)).html).toContain('id="login"');
});

test('an answer cannot add scopes that were not asked for', async () => {
  const account = await registerAccount(app);
  const person = newPerson();
  const request = await rp.start({ scope: 'openid profile' });
  const consent = await signIn(person, await person.open(request.url), account);
  const scope = ['profile', 'email', 'phone', 'address', 'offline_access', 'admin', 'openid'];
  const { left } = await person.submit(consent, 'consent', { scope, claim: ['email', 'sub'] }, 'consent-approve');
  const tokens = await request.finish(left as URL);
  expect([tokens.scope, tokens.refresh_token]).toEqual(['openid profile', undefined]);
  expect(await rp.userinfo(tokens.access_token, account.sub)).not.toHaveProperty('email');
});

test('anything but a plain yes is a no', async () => {
  for (const decision of [{}, { decision: '' }, { decision: 'ALLOW' }, { decision: 'deny' }] as Record<
    string,
    string
  >[]) {
    const account = await registerAccount(app);
    const person = newPerson();
    const consent = await signIn(person, await person.open((await rp.start()).url), account);
    const answer = await post(person, `${consent.url}/consent`, { scope: 'profile', ...decision });
    const location = answer.headers.get('location');
    const { left } = location ? await person.open(location) : { left: undefined };
    expect(left?.searchParams.get('code') ?? null).toBeNull();
  }
});
