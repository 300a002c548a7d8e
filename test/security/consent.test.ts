/** What a person is told before they say yes, and how they take it back. */
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Page, readCheckboxes, readText } from '../support/person.ts';
import { allow, discover, registerAccount, registerClient, signIn, signInThrough } from '../support/relying-party.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startApp();
});
afterAll(() => app.close());

const noBody = { method: 'POST', body: new URLSearchParams() };

/** The consent page that a new person sees. */
async function consentOf(metadata: Record<string, unknown>, parameters: Record<string, string> = {}): Promise<Page> {
  const rp = await discover(app, await registerClient(app, metadata));
  const person = createPerson(app.origin);
  const page = await person.open((await rp.start(parameters)).url);
  return signIn(person, page, await registerAccount(app));
}

describe('the consent page (SECURITY 48)', () => {
  test('names the app, where it is, the account, and each thing it will get', async () => {
    const redirect_uri = 'https://kestrel.example/cb';
    const page = await consentOf(
      {
        client_name: 'Kestrel Cycling',
        redirect_uris: [redirect_uri],
        policy_uri: 'https://kestrel.example/privacy',
        tos_uri: 'https://kestrel.example/terms',
      },
      { redirect_uri, scope: 'openid profile email phone address offline_access', prompt: 'consent' },
    );
    const text = readText(page.html);
    expect(text).toContain('Kestrel Cycling');
    expect(text).toContain('kestrel.example');
    expect(text).toMatch(/@moreno\.example/);
    expect(Object.keys(readCheckboxes(page.html, 'scope'))).toEqual([
      'profile',
      'email',
      'phone',
      'address',
      'offline_access',
    ]);
    for (const words of [
      'Know it’s you',
      'See your name',
      'email address',
      'phone number',
      'postal address',
      'Stay connected',
    ]) {
      expect(text).toContain(words);
    }
    expect(page.html).toContain('href="https://kestrel.example/privacy"');
  });

  test('warns of an app that nobody vouches for, also when it says otherwise (SECURITY 41)', async () => {
    const claims = { first_party: true, unverified: false, registered_by: 'operator', require_consent: false };
    const page = await consentOf({ redirect_uris: ['https://a.example/cb', `${app.origin}/callback`], ...claims });
    expect(page.html).toContain('id="consent"');
    const text = readText(page.html);
    expect(text).toContain('Unverified');
    expect(text).toContain('Nobody at Latchkey has checked who runs this app');
    // Where the answer goes is what counts, not the first address on the app's list.
    expect(text).toContain(`only if you trust ${new URL(app.origin).host}`);
  });

  test('cannot be dressed up by the name of an app', async () => {
    const page = await consentOf({
      client_name: '</h1><script>alert(1)</script><img src=x onerror=alert(1)> "Your bank"',
      policy_uri: 'https://a.example/"onmouseover="alert(1)',
    });
    expect(page.html).not.toContain('"onmouseover');
    expect(page.html).not.toMatch(/<script>|<img src=x/);
    expect(page.html).toContain('&lt;script&gt;');
    for (const client_name of ['Your\u202eknab', 'Your\nbank', 'Your\u200bbank', ' ', 'x'.repeat(1000)]) {
      const response = await fetch(`${app.origin}/clients`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ redirect_uris: ['https://a.example/cb'], client_name }),
      });
      expect(response.status).toBe(400);
    }
  });

  test('comes again for more than was allowed, and says what that is', async () => {
    const rp = await discover(app, await registerClient(app));
    const { person } = await signInThrough(app, rp, await registerAccount(app));
    for (const parameters of [
      { scope: 'openid profile email phone' },
      { claims: JSON.stringify({ userinfo: { birthdate: null } }) },
    ] as Record<string, string>[]) {
      const silent = await person.open((await rp.start({ ...parameters, prompt: 'none' })).url);
      expect(silent.left?.searchParams.get('error')).toBe('consent_required');
      expect((await person.open((await rp.start(parameters)).url)).html).toContain('id="consent"');
    }
  });

  test('is never skipped for an app without a yes, in no browser and by no prompt', async () => {
    const rp = await discover(app, await registerClient(app));
    const account = await registerAccount(app);
    const person = createPerson(app.origin);
    await signIn(person, await person.open('/auth/login'), account);
    const silent = await person.open((await rp.start({ prompt: 'none' })).url);
    expect(silent.left?.searchParams.get('error')).toBe('consent_required');
    for (const prompt of [undefined, 'login', 'consent']) {
      let page = await person.open((await rp.start(prompt === undefined ? {} : { prompt })).url);
      if (page.html.includes('id="login"')) page = await signIn(person, page, account);
      expect(page.html).toContain('id="consent"');
    }
  });

  test('cannot be answered by the app itself: a native one is asked about each time (RFC 8252 §8.6)', async () => {
    const registration = await registerClient(app, {
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['com.example.app:/cb'],
    });
    const rp = await discover(app, registration);
    const redirect_uri = 'com.example.app:/cb';
    const { person } = await signInThrough(app, rp, await registerAccount(app), { parameters: { redirect_uri } });
    const again = await person.open((await rp.start({ redirect_uri })).url);
    expect(again.html).toContain('id="consent"');
  });
});

describe('connected apps on the account page (SECURITY 35)', () => {
  test('lists each app with what it may do, and disconnecting ends all of it at once', async () => {
    const [fernwood, kestrel] = [
      await registerClient(app),
      await registerClient(app, { client_name: 'Kestrel Cycling' }),
    ];
    const [one, other] = [await discover(app, fernwood), await discover(app, kestrel)];
    const account = await registerAccount(app);
    const offline = { parameters: { scope: 'openid profile offline_access', prompt: 'consent' } };
    const { person, tokens } = await signInThrough(app, one, account, offline);
    const elsewhere = await signInThrough(app, one, account, offline);
    const kept = await signInThrough(app, other, account, { person });
    const text = readText((await person.open('/account/apps')).html);
    expect(text).toMatch(/Fernwood Library See your name and profile · Stay connected/);
    expect(text).toContain('Kestrel Cycling See your name and profile · See your email address');

    const after = await person.open(`/account/apps/${fernwood.client_id}/disconnection`, noBody);
    expect(readText(after.html)).toContain('That app is no longer connected.');
    expect(readText(after.html)).not.toContain('Fernwood Library');
    for (const each of [tokens, elsewhere.tokens]) {
      expect((await one.introspect(each.access_token)).active).toBe(false);
      await expect(one.refresh(each.refresh_token as string)).rejects.toThrow();
    }
    expect((await other.introspect(kept.tokens.access_token)).active).toBe(true);
    // In every browser the next request asks again.
    for (const browser of [person, elsewhere.person]) {
      const again = await browser.open((await one.start()).url);
      expect(again.html).toContain('id="consent"');
      const request = await one.start();
      const left = await allow(browser, await browser.open(request.url));
      expect((await request.finish(left.left as URL)).claims()?.sub).toBe(account.sub);
      await browser.open(`/account/apps/${fernwood.client_id}/disconnection`, noBody);
    }
    const { rows } = await app.database.db.execute(
      sql`select count(*)::int as left_over from oidc_grants where account_id = ${account.sub} and client_id = ${fernwood.client_id}`,
    );
    expect(rows).toEqual([{ left_over: 0 }]);
  });

  test('one’s own alone: nobody sees or ends what another account allowed', async () => {
    const registration = await registerClient(app);
    const rp = await discover(app, registration);
    const { tokens } = await signInThrough(app, rp, await registerAccount(app));
    const mallory = createPerson(app.origin);
    await signIn(mallory, await mallory.open('/auth/login'), await registerAccount(app));
    expect((await mallory.open('/account/apps')).html).not.toContain('Fernwood Library');
    await mallory.open(`/account/apps/${registration.client_id}/disconnection`, noBody);
    expect((await rp.introspect(tokens.access_token)).active).toBe(true);
    const stranger = await createPerson(app.origin).open(
      `/account/apps/${registration.client_id}/disconnection`,
      noBody,
    );
    expect(stranger.url).toContain('/auth/login');
  });
});
