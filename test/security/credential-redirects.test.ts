/** A browser that is redirected after sending a password must not send it on: 303, never 307 or 308 (SECURITY 23). */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Page, type Person, readForm } from '../support/person.ts';
import { type Registration, registerAccount, registerClient } from '../support/relying-party.ts';
import { authorizationUrl, type SignedIn, signedInPerson } from './protocol.ts';

let app: TestApp;
let client: Registration;
let account: SignedIn['account'];

beforeAll(async () => {
  app = await startApp();
  client = await registerClient(app);
  account = await registerAccount(app);
});
afterAll(() => app.close());

type Fields = Record<string, string>;

/** Posts a form of a page and answers with the response itself. */
function send(person: Person, page: Page, formId: string, fields: Fields): Promise<Response> {
  const { action, hidden } = readForm(page.html, formId);
  return person.request(new URL(action, page.url).href, {
    method: 'POST',
    body: new URLSearchParams([...hidden, ...Object.entries(fields)]),
    headers: { origin: app.origin, 'sec-fetch-site': 'same-origin' },
  });
}

const credentials = () => ({ email: account.email, password: account.password });
const newcomer = (email: string) => ({ email, name: 'Grace Okafor', password: account.password });

test.each<[string, string, string, () => Fields]>([
  ['signing in', '/auth/login', 'login', credentials],
  ['registering', '/auth/register', 'register', () => newcomer('grace@okafor.example')],
  ['signing in with somewhere to return to', '/auth/login?return_to=/account', 'login', credentials],
])('after %s', async (_step, path, form, fields) => {
  const person = createPerson(app.origin);
  const response = await send(person, await person.open(path), form, fields());
  expect(response.status).toBe(303);
});

test('after every step of an authorization, as far as the client', async () => {
  const person = createPerson(app.origin);
  const signInPage = await person.open(authorizationUrl(app, client));
  const signedIn = await send(person, signInPage, 'login', credentials());
  expect(signedIn.status).toBe(303);
  const resumed = await person.request(signedIn.headers.get('location') ?? '');
  expect(resumed.status).toBe(303);
  const consentPage = await person.open(resumed.headers.get('location') ?? '');
  const allowed = await send(person, consentPage, 'consent', { decision: 'allow' });
  expect(allowed.status).toBe(303);
  const finished = await person.request(allowed.headers.get('location') ?? '');
  expect(finished.status).toBe(303);
  expect(finished.headers.get('location')).toMatch(/\/callback\?code=/);
});

test('after registering in the middle of an authorization', async () => {
  const person = createPerson(app.origin);
  const signInPage = await person.open(authorizationUrl(app, client));
  const registerPage = await person.open(signInPage.url.replace(/(\/login)?$/, '/register'));
  const response = await send(person, registerPage, 'register', newcomer('tove@lindqvist.example'));
  expect(response.status).toBe(303);
});

test('after saying no, before and after signing in', async () => {
  const person = createPerson(app.origin);
  const signInPage = await person.open(authorizationUrl(app, client));
  const uid = new URL(signInPage.url).pathname.split('/')[3];
  const aborted = await person.request(`/auth/interaction/${uid}/abort`, {
    method: 'POST',
    body: new URLSearchParams(),
    headers: { origin: app.origin, 'sec-fetch-site': 'same-origin' },
  });
  expect(aborted.status).toBe(303);
  expect((await person.request(aborted.headers.get('location') ?? '')).status).toBe(303);

  const decided = await signedInPerson(app);
  const consentPage = await decided.person.open(authorizationUrl(app, client, { scope: 'openid email' }));
  const denied = await send(decided.person, consentPage, 'consent', { decision: 'deny' });
  expect(denied.status).toBe(303);
  const answer = await decided.person.request(denied.headers.get('location') ?? '');
  expect(answer.status).toBe(303);
  expect(answer.headers.get('location')).toContain('error=access_denied');
});

test('after signing out, here and at a client', async () => {
  const { person } = await signedInPerson(app);
  const logoutPage = await person.open('/oidc/session/end');
  expect((await send(person, logoutPage, 'logout', { logout: 'yes' })).status).toBe(303);
  const again = await signedInPerson(app);
  const response = await again.person.request('/auth/logout', {
    method: 'POST',
    body: new URLSearchParams(),
    headers: { origin: app.origin, 'sec-fetch-site': 'same-origin' },
  });
  expect(response.status).toBe(303);
});
