/** Changing the password: the old one is asked for, and whoever had got in is out. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, fromElsewhere, type Page, type Person, readText } from '../support/person.ts';
import { discover, password, type Registration, registerClient, signIn } from '../support/relying-party.ts';
import {
  authorizationUrl,
  issueCode,
  issueTokens,
  makeFirstParty,
  post,
  redeem,
  refresh,
  type SignedIn,
  signedInPerson,
  type Tokens,
  userinfoStatus,
} from './protocol.ts';

const next = 'kestrel over tidewater';

let app: TestApp;
let client: Registration;
let own: Registration;
let ada: SignedIn;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1', PASSWORD_CHECK: 'common' } });
  client = await registerClient(app);
  own = await registerClient(app);
  await makeFirstParty(app, own);
});
beforeEach(async () => {
  ada = await signedInPerson(app);
});
afterAll(() => app.close());

function send(path: string, body: Record<string, string>, who: Pick<Person, 'request'>): Promise<Response> {
  const headers = { 'content-type': 'application/json', ...fromElsewhere() };
  return who.request(path, { method: 'POST', body: JSON.stringify(body), headers });
}

const change = (who: Person, current = password, wanted = next) =>
  send('/account/password', { current_password: current, new_password: wanted }, who);
const signInStatus = async (secret: string) =>
  (await send('/auth/login', { email: ada.account.email, password: secret }, createPerson(app.origin))).status;
const isSignedIn = async (who: Person) => (await who.request('/account')).status === 200;

async function elsewhere(): Promise<Person> {
  const person = createPerson(app.origin);
  await signIn(person, await person.open('/auth/login'), ada.account);
  return person;
}

/** A browser with the cookies that another one has now. */
function copyOf(person: Person): Person {
  const copy = createPerson(app.origin);
  for (const [key, cookie] of person.jar) copy.jar.set(key, cookie);
  return copy;
}

/** Which of userinfo, introspection and refresh still accept the tokens. */
async function accepted(who: Registration, { access_token, refresh_token }: Tokens): Promise<string[]> {
  const active = async (token: string) => (await post(app, 'introspection', { token }, who)).body.active === true;
  const answers: [string, boolean][] = [
    ['userinfo', (await userinfoStatus(app, access_token)) === 200],
    ['introspection', await active(access_token)],
    ['introspection of the refresh token', await active(refresh_token)],
    ['refresh', (await refresh(app, who, refresh_token)).status === 200],
  ];
  return answers.flatMap(([name, works]) => (works ? [name] : []));
}

describe('a changed password', () => {
  test('is asked for the old one (SECURITY 55)', async () => {
    for (const [current, status] of [
      ['not the old one', 401],
      ['', 400],
    ] as const) {
      expect((await change(ada.person, current)).status).toBe(status);
    }
    const without = await send('/account/password', { new_password: next }, ada.person);
    expect(without.status).toBe(400);
    expect([await signInStatus(password), await signInStatus(next)]).toEqual([200, 401]);
    expect((await change(ada.person)).status).toBe(204);
    expect([await signInStatus(password), await signInStatus(next)]).toEqual([401, 200]);
  });

  test('is not one that everybody tries (SECURITY 55)', async () => {
    const page = await ada.person.submit(await ada.person.open('/account/password'), 'password', {
      current_password: password,
      new_password: 'Password1',
    });
    expect(page.status).toBe(422);
    expect(readText(page.html)).toContain('This password has appeared in a leak.');
    for (const common of ['qwertyuiop', ada.account.email]) {
      expect([common, (await change(ada.person, password, common)).status]).toEqual([common, 400]);
    }
    expect(await signInStatus(password)).toBe(200);
  });

  test('ends all that clients hold for the account, at once (SECURITY 21)', async () => {
    const other = await elsewhere();
    const offline = await issueTokens(app, client, ada);
    const offlineElsewhere = await issueTokens(app, client, { ...ada, person: other });
    const bound = await issueTokens(app, own, ada, { scope: 'openid' });
    const code = await issueCode(app, client, { ...ada, person: other }, { scope: 'openid offline_access' });
    expect(await userinfoStatus(app, offlineElsewhere.access_token)).toBe(200);
    expect((await change(ada.person)).status).toBe(204);
    expect(await accepted(client, offline)).toEqual([]);
    expect(await accepted(client, offlineElsewhere)).toEqual([]);
    expect(await accepted(own, bound)).toEqual([]);
    expect((await redeem(app, client, code)).body.error).toBe('invalid_grant');
  });

  test('ends nothing of anybody else', async () => {
    const bob = await signedInPerson(app);
    const kept = await issueTokens(app, client, bob);
    expect((await change(ada.person)).status).toBe(204);
    expect(await isSignedIn(bob.person)).toBe(true);
    expect(await accepted(client, kept)).toHaveLength(4);
  });

  test('ends every other session, and this one goes on under a new id (SECURITY 21, 31)', async () => {
    const other = await elsewhere();
    const page: Page = await ada.person.open('/account/password');
    const stolen = copyOf(ada.person);
    expect([await isSignedIn(other), await isSignedIn(stolen)]).toEqual([true, true]);
    const fields = { current_password: password, new_password: next };
    const done = await ada.person.submit(page, 'password', fields, 'password-submit');
    expect(done.url).toBe(`${app.origin}/account?done=password`);
    expect(readText(done.html)).toContain('Your password is changed.');
    expect([await isSignedIn(other), await isSignedIn(stolen)]).toEqual([false, false]);
    expect(await isSignedIn(ada.person)).toBe(true);
    const silent = await other.request(authorizationUrl(app, client, { prompt: 'none' }));
    expect(silent.headers.get('location')).toContain('error=login_required');
  });

  test('lets a client that was allowed something ask again without a page', async () => {
    await issueTokens(app, client, ada, { scope: 'openid profile' });
    expect((await change(ada.person)).status).toBe(204);
    const tokens = await issueTokens(app, client, ada, { scope: 'openid profile', prompt: 'none' });
    expect(await userinfoStatus(app, tokens.access_token)).toBe(200);
  });

  test('leaves nothing to a sign-in that was under way with the old one', async () => {
    const rp = await discover(app, client);
    const attacker = createPerson(app.origin);
    const page = await attacker.open((await rp.start()).url);
    const body = new URLSearchParams({ email: ada.account.email, password });
    const answer = await attacker.request(`${page.url}/login`, { method: 'POST', body });
    expect(answer.status).toBe(303);
    expect((await change(ada.person)).status).toBe(204);
    const resumed = await attacker.open(answer.headers.get('location') as string);
    expect([resumed.left, await isSignedIn(attacker)]).toEqual([undefined, false]);
    expect(readText(resumed.html)).toContain('This sign-in got interrupted');
  });
});

test('of two changes at once one wins', async () => {
  const wanted = ['first of the two words', 'second of the two words'] as const;
  const copies = wanted.map(() => copyOf(ada.person));
  const answers = await Promise.all(wanted.map((each, index) => change(copies[index] as Person, password, each)));
  const statuses = answers.map(({ status }) => status);
  expect(statuses.toSorted()).toEqual([204, 401]);
  const won = statuses.indexOf(204);
  expect(await Promise.all(wanted.map(signInStatus))).toEqual(won === 0 ? [200, 401] : [401, 200]);
  expect(await signInStatus(password)).toBe(401);
});

describe('a wrong current password', () => {
  test('counts as a wrong one at sign-in, and the other way round (SECURITY 51, 52)', async () => {
    // As somebody who found the session and knows no password: the mark of the known browser is not needed for it.
    const thief = copyOf(ada.person);
    for (const key of thief.jar.keys()) if (key.includes('device')) thief.jar.delete(key);
    for (let round = 0; round < 15; round += 1) {
      expect((await change(thief, `wrong ${round}`)).status).toBe(401);
      expect(await signInStatus(`wrong ${round}`)).toBe(401);
    }
    const right = await change(thief);
    expect(right.status).toBe(429);
    expect(Number(right.headers.get('retry-after'))).toBeGreaterThan(14 * 60);
    expect(await signInStatus(password)).toBe(429);
    const fields = { current_password: password, new_password: next };
    const page = await thief.submit(await thief.open('/account/password'), 'password', fields);
    expect(page.status).toBe(429);
    expect(readText(page.html)).toContain('Too many tries. Wait 15 minutes, then try again.');
    // The owner's own browser is counted apart.
    expect((await change(ada.person)).status).toBe(204);
  });
});
