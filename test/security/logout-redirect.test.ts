/** After sign-out a browser is sent to an address that the client registered, and only on the client's own word. */
import fc from 'fast-check';
import { UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Page, type Person, readForm } from '../support/person.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import { issueTokens, outwardTargets, type Parameters, type SignedIn, signedInPerson } from './protocol.ts';

const registered = 'https://client.example/signed-out?from=latchkey';

let app: TestApp;
let client: Registration;
let signedIn: SignedIn;
let hint: string;

beforeAll(async () => {
  app = await startApp();
  client = await registerClient(app, { post_logout_redirect_uris: [registered] });
  signedIn = await signedInPerson(app);
  hint = (await issueTokens(app, client, signedIn, {})).id_token;
});
afterAll(() => app.close());

function logoutUrl(parameters: Parameters): string {
  const given = Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return `${app.issuer}/session/end?${new URLSearchParams(given)}`;
}

/** Opens an address and lets the page do what its script would do by itself. */
async function openWithScript(person: Person, url: string): Promise<Page> {
  const page = await person.open(url);
  if (!page.html.includes('document.forms[0].submit()')) return page;
  const named = page.html.replace('<form ', '<form id="sent-by-itself" ');
  return person.submit({ ...page, html: named }, 'sent-by-itself');
}

async function expectRefused(person: Person, parameters: Parameters): Promise<void> {
  const page = await openWithScript(person, logoutUrl(parameters));
  expect([page.status, page.left], JSON.stringify(parameters)).toEqual([400, undefined]);
  expect(outwardTargets(page.html)).toEqual([]);
}

describe('post_logout_redirect_uri (SECURITY 6)', () => {
  test('registered, with a hint, is where the browser goes once the person has confirmed', async () => {
    const leaving = await signedInPerson(app);
    const { id_token } = await issueTokens(app, client, leaving, {});
    const url = logoutUrl({ id_token_hint: id_token, post_logout_redirect_uri: registered, state: 'abc' });
    const page = await leaving.person.open(url);
    expect(readForm(page.html, 'logout').action).toBe('/oidc/session/end/confirm');
    const { left } = await leaving.person.submit(page, 'logout', {}, 'logout-confirm');
    expect(left?.href).toBe(`${registered}&state=abc`);
  });

  test.each([
    'https://client.example/signed-out',
    'https://client.example/signed-out?from=latchkey&foo=bar',
    'https://client.example/signed-out/?from=latchkey',
    'https://client.example/Signed-out?from=latchkey',
    'https://client.example:443/signed-out?from=latchkey',
    'https://client.example/signed-out?from=latchkey#top',
    'https://client.example@evil.example/signed-out?from=latchkey',
    'https://evil.example/signed-out?from=latchkey',
    'http://client.example/signed-out?from=latchkey',
    '//client.example/signed-out?from=latchkey',
    'javascript:alert(1)',
    'x',
  ])('must match character by character: %s', async (post_logout_redirect_uri) => {
    for (const person of [signedIn.person, createPerson(app.origin)]) {
      await expectRefused(person, { id_token_hint: hint, post_logout_redirect_uri });
      await expectRefused(person, { client_id: client.client_id, post_logout_redirect_uri });
    }
  });

  test('must match whatever it is', async () => {
    const anything = fc.oneof(
      fc.webUrl(),
      fc.string({ minLength: 1 }),
      fc.string({ minLength: 1 }).map((s) => registered + s),
    );
    await fc.assert(
      fc.asyncProperty(anything, (uri) =>
        expectRefused(signedIn.person, { id_token_hint: hint, post_logout_redirect_uri: uri }),
      ),
      { numRuns: 40 },
    );
  });

  test('of one client does not go with the hint of another', async () => {
    const other = await registerClient(app);
    const { id_token } = await issueTokens(app, other, signedIn, {});
    await expectRefused(signedIn.person, { id_token_hint: id_token, post_logout_redirect_uri: registered });
    await expectRefused(signedIn.person, {
      id_token_hint: id_token,
      client_id: client.client_id,
      post_logout_redirect_uri: registered,
    });
  });

  test.each([
    ['no token at all', () => 'x'],
    ['an unsigned token', () => unsigned()],
    ['a changed token', () => `${hint.slice(0, -8)}AAAAAAAA`],
    ['a token whose signature was cut off', () => `${hint.slice(0, hint.lastIndexOf('.'))}.`],
  ])('goes nowhere with a hint that is %s', async (_kind, forged) => {
    for (const person of [signedIn.person, createPerson(app.origin)]) {
      await expectRefused(person, { id_token_hint: forged(), post_logout_redirect_uri: registered });
    }
  });

  test('without a hint and a client goes nowhere, whether the person confirms or not', async () => {
    const leaving = await signedInPerson(app);
    const page = await leaving.person.open(logoutUrl({ post_logout_redirect_uri: registered }));
    const after = await leaving.person.submit(page, 'logout', {}, 'logout-confirm');
    expect([after.status, after.left]).toEqual([200, undefined]);
    const stranger = await openWithScript(
      createPerson(app.origin),
      logoutUrl({ post_logout_redirect_uri: registered }),
    );
    expect([stranger.status, stranger.left]).toEqual([200, undefined]);
  });

  test('with a client alone asks the signed-in person first', async () => {
    const url = logoutUrl({ client_id: client.client_id, post_logout_redirect_uri: registered });
    const page = await openWithScript(signedIn.person, url);
    expect([page.status, page.left]).toEqual([200, undefined]);
    expect(readForm(page.html, 'logout').action).toBe('/oidc/session/end/confirm');
  });

  test('with a client alone sends nobody on who is not signed in: anyone could make such a link', async () => {
    const url = logoutUrl({ client_id: client.client_id, post_logout_redirect_uri: registered });
    const page = await openWithScript(createPerson(app.origin), url);
    expect([page.status, page.left]).toEqual([200, undefined]);
  });

  test('with a hint sends on a browser that is signed out already', async () => {
    const url = logoutUrl({ id_token_hint: hint, post_logout_redirect_uri: registered });
    const page = await openWithScript(createPerson(app.origin), url);
    expect(page.left?.href).toBe(registered);
  });
});

function unsigned(): string {
  const { sub } = signedIn.account;
  return new UnsecuredJWT({ sub }).setIssuer(app.issuer).setAudience(client.client_id).setIssuedAt().encode();
}
