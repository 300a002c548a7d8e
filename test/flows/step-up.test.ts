/** A client that asks for more than a session has shown: the second factor alone, and true words about it (RFC 9470). */
import { decodeJwt } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { advance, authorizationUrl, issueCode, redeem } from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { pollOnce, registerDevice, startDevice } from '../support/device.ts';
import { createStranger, type Page, type Person, readText } from '../support/person.ts';
import { allow, type Registration, registerAccount, registerClient, signIn } from '../support/relying-party.ts';
import {
  type Account,
  authenticatorOf,
  recoveryCodesOf,
  setUpTwoStep,
  type TwoStepPerson,
} from '../support/two-step-person.ts';

const pwd = 'urn:latchkey:acr:pwd';
const mfa = 'urn:latchkey:acr:mfa';

let app: TestApp;
let client: Registration;
let strict: Registration;
/** Two-step sign-in is on, and the browser remembered: its session has shown the password alone. */
let ada: TwoStepPerson;
let browser: Person;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
  client = await registerClient(app);
  strict = await registerClient(app, { require_second_factor: true, client_name: 'Tidewater Bank' });
});
beforeEach(async () => {
  const account = await registerAccount(app);
  browser = newBrowser();
  await signIn(browser, await browser.open('/auth/login'), account);
  ada = await setUpTwoStep(app, browser, account);
  await browser.request('/auth/logout', { method: 'POST' });
  const page = await signIn(browser, await browser.open('/auth/login'), account);
  await browser.submit(page, 'second-factor', { code: await ada.code(), remember: '1' });
  await browser.request('/auth/logout', { method: 'POST' });
  await signIn(browser, await browser.open('/auth/login'), account);
});
afterEach(() => {
  vi.useRealTimers();
});
afterAll(() => app.close());

const newBrowser = () => createStranger(app);

const ask = (changes: Record<string, string> = {}, by = client) => browser.open(authorizationUrl(app, by, changes));
const essential = (...values: string[]) => JSON.stringify({ id_token: { acr: { essential: true, values } } });
const at = (page: Page) => new URL(page.url).pathname.replace(/^\/auth\/interaction\/[\w-]+/, '');

/** Through the second step and consent, as far as what the client gets. */
async function answer(page: Page): Promise<URLSearchParams> {
  let next = page;
  if (next.html.includes('id="second-factor"')) {
    next = await browser.submit(next, 'second-factor', { code: await ada.code() });
  }
  if (next.html.includes('id="consent"')) next = await allow(browser, next);
  if (!next.left) throw new Error(`ended on a page: ${readText(next.html).slice(0, 500)}`);
  return next.left.searchParams;
}

async function idToken(changes: Record<string, string> = {}, by = client, account: Account = ada.account) {
  const signedIn = { person: browser, account };
  const { body } = await redeem(app, by, await issueCode(app, by, signedIn, changes));
  return decodeJwt(body.id_token as string);
}

const sessionCookie = () => browser.jar.get('latchkey_session /')?.value;

describe('acr_values', () => {
  test('the second factor alone is asked for, the session goes on under another id, the ID token is true', async () => {
    expect(await idToken()).toMatchObject({ acr: pwd, amr: ['pwd'] });
    const before = sessionCookie();
    const page = await ask({ acr_values: mfa });
    expect([at(page), page.html.includes('id="login"')]).toEqual(['/second-factor', false]);
    // A browser that is remembered is asked all the same, and not offered to be.
    expect(page.html).not.toContain('name="remember"');
    expect((await answer(page)).get('code')).toBeTruthy();
    expect(sessionCookie()).not.toBe(before);
    expect(await idToken({ acr_values: mfa })).toMatchObject({ acr: mfa, amr: ['pwd', 'otp', 'mfa'] });
  });

  test('somebody without a second factor is not asked: it is a wish', async () => {
    const account = await registerAccount(app);
    browser = newBrowser();
    await signIn(browser, await browser.open('/auth/login'), account);
    expect(await idToken({ acr_values: mfa }, client, account)).toMatchObject({ acr: pwd });
  });

  test('nobody is asked with prompt=none, or when the first wish is met', async () => {
    await answer(await ask());
    for (const changes of [{ acr_values: mfa, prompt: 'none' }, { acr_values: `${pwd} ${mfa}` }]) {
      expect(await idToken(changes)).toMatchObject({ acr: pwd });
    }
    expect(at(await ask({ acr_values: `phr ${mfa} ${pwd}` }))).toBe('/second-factor');
  });

  test('a client’s default_acr_values are asked for like them', async () => {
    const banking = await registerClient(app, { default_acr_values: [mfa] });
    expect(at(await ask({}, banking))).toBe('/second-factor');
  });

  test('a password of long ago is asked for as well', async () => {
    advance(11 * 60);
    const page = await ask({ acr_values: mfa });
    expect(page.html).toContain('id="login"');
    const next = await signIn(browser, page, ada.account);
    expect(at(next)).toBe('/second-factor');
    expect((await answer(next)).get('code')).toBeTruthy();
  });

  test('a wrong code leads nowhere, and no is an answer', async () => {
    const page = await ask({ acr_values: mfa });
    const wrong = await browser.submit(page, 'second-factor', { code: '000000' });
    expect([wrong.status, at(wrong)]).toEqual([422, '/second-factor']);
    const { action } = await cancelOf(wrong);
    const left = await browser.open(action, { method: 'POST', body: new URLSearchParams() });
    expect(left.left?.searchParams.get('error')).toBe('access_denied');
    expect(await idToken()).toMatchObject({ acr: pwd });
  });

  const cancelOf = async (page: Page) => ({ action: /action="([^"]+\/abort)"/.exec(page.html)?.[1] ?? '' });
});

describe('an essential acr', () => {
  test('is met by a second factor, and refused when nobody may be asked', async () => {
    const refused = await ask({ claims: essential(mfa), prompt: 'none' });
    expect(refused.left?.searchParams.get('error')).toBe('unmet_authentication_requirements');
    const page = await ask({ claims: essential(mfa) });
    expect(at(page)).toBe('/second-factor');
    expect((await answer(page)).get('code')).toBeTruthy();
    expect(await idToken({ claims: essential(mfa), prompt: 'none' })).toMatchObject({ acr: mfa });
  });

  test('that is less than what was shown is answered in its own word (OIDC Core §5.5.1.1)', async () => {
    await answer(await ask({ acr_values: mfa }));
    expect(await idToken({ claims: essential(pwd) })).toMatchObject({ acr: pwd, amr: ['pwd', 'otp', 'mfa'] });
    expect(await idToken({ claims: essential('phr', pwd, mfa) })).toMatchObject({ acr: mfa });
    expect(await idToken()).toMatchObject({ acr: mfa });
  });
});

describe('a client that requires a second factor', () => {
  test('gets it from who has one, remembered or not', async () => {
    const page = await ask({}, strict);
    expect(at(page)).toBe('/second-factor');
    expect((await answer(page)).get('code')).toBeTruthy();
    expect(await idToken({}, strict)).toMatchObject({ acr: mfa, amr: ['pwd', 'otp', 'mfa'] });
    // Other clients see the same session.
    expect(await idToken()).toMatchObject({ acr: mfa });
  });

  test('is told login_required where nobody may be asked', async () => {
    const refused = await ask({ prompt: 'none' }, strict);
    expect(refused.left?.searchParams.get('error')).toBe('login_required');
  });

  test('has people without one set it up on the way, before consent', async () => {
    const account = await registerAccount(app);
    browser = newBrowser();
    const needed = await signIn(browser, await ask({}, strict), account);
    expect(at(needed)).toBe('/set-up');
    expect(readText(needed.html)).toContain('Tidewater Bank lets in only people who sign in with two steps.');
    // Nothing else leads on.
    expect(at(await browser.open(needed.url.replace(/\/set-up$/, '')))).toBe('/set-up');
    const early = await browser.open(needed.url.replace(/set-up$/, 'consent'));
    expect(at(early)).toBe('/set-up');

    const page = await browser.open(
      /id="set-up" href="([^"]+)"/.exec(needed.html)?.[1]?.replaceAll('&amp;', '&') ?? '',
    );
    const codes = await browser.submit(page, 'totp-set-up', { code: authenticatorOf(page.html)() });
    expect(recoveryCodesOf(codes.html)).toHaveLength(10);
    const consent = await browser.open(/id="recovery-codes-kept" href="([^"]+)"/.exec(codes.html)?.[1] ?? '');
    expect(consent.html).toContain('id="consent"');
    expect((await allow(browser, consent)).left?.searchParams.get('code')).toBeTruthy();
    expect(await idToken({}, strict, account)).toMatchObject({ acr: mfa, amr: ['pwd', 'otp', 'mfa'] });
  });

  test('takes a no from who does not want to, who stays signed in here', async () => {
    const account = await registerAccount(app);
    browser = newBrowser();
    const needed = await signIn(browser, await ask({}, strict), account);
    const abort = needed.url.replace(/set-up$/, 'abort');
    const left = await browser.open(abort, { method: 'POST', body: new URLSearchParams() });
    expect(left.left?.searchParams.get('error')).toBe('access_denied');
    expect(await idToken({}, client, account)).toMatchObject({ acr: pwd });
  });

  test('gets it on a device, too', async () => {
    const device = await registerDevice(app, { require_second_factor: true });
    const shown = await startDevice(app, device);
    const confirm = await browser.open(shown.verification_uri_complete);
    const page = await browser.submit(confirm, 'device-confirm', {}, 'device-approve');
    expect(at(page)).toBe('/second-factor');
    const next = await browser.submit(page, 'second-factor', { code: await ada.code() });
    const done = next.html.includes('id="consent"') ? await allow(browser, next) : next;
    expect(readText(done.html)).toContain('Your device is connected');
    const { id_token } = (await pollOnce(app, device, shown)) as unknown as { id_token: string };
    expect(decodeJwt(id_token)).toMatchObject({ acr: mfa, amr: ['pwd', 'otp', 'mfa'] });
  });

  test('is a matter of its metadata: registration may set it, and only to true or false', async () => {
    await expect(registerClient(app, { require_second_factor: 'yes' })).rejects.toThrow(/require_second_factor/);
  });
});

describe('with other wishes', () => {
  test('max_age and prompt=login ask for the password, auth_time says when', async () => {
    await answer(await ask({ acr_values: mfa }));
    const first = await idToken({ acr_values: mfa });
    advance(60);
    for (const changes of [{ max_age: '30' }, { prompt: 'login' }]) {
      const page = await ask({ acr_values: mfa, ...changes });
      expect(page.html).toContain('id="login"');
      const next = await signIn(browser, page, ada.account);
      expect(at(next)).toBe('/second-factor');
      expect((await answer(next)).get('code')).toBeTruthy();
      advance(60);
    }
    const last = await idToken({ acr_values: mfa });
    expect(Number(last.auth_time)).toBeGreaterThanOrEqual(Number(first.auth_time) + 60);
  });

  test('a sign-in within the request takes both steps, and comes back to the client', async () => {
    browser = newBrowser();
    const page = await signIn(browser, await ask({ acr_values: mfa }), ada.account);
    expect([at(page), browser.jar.has('latchkey_session /')]).toEqual(['/second-factor', false]);
    expect((await answer(page)).get('code')).toBeTruthy();
    expect(await idToken()).toMatchObject({ acr: mfa });
  });

  test('one request’s first step is none of another’s, and another browser has none', async () => {
    browser = newBrowser();
    const first = await ask();
    const second = await ask();
    await signIn(browser, first, ada.account);
    const skipped = await browser.open(`${second.url}/second-factor`);
    expect(skipped.html).toContain('id="login"');
    expect(readText(skipped.html)).toContain('Sign in again.');
    const stranger = newBrowser();
    const lost = await stranger.open(`${first.url}/second-factor`);
    expect([lost.status, readText(lost.html).includes('This sign-in got interrupted')]).toEqual([400, true]);
  });

  test('a step-up that waits ends with its session: signed out meanwhile, it starts again', async () => {
    const page = await ask({ acr_values: mfa });
    await browser.request('/auth/logout', { method: 'POST' });
    const next = await browser.submit(page, 'second-factor', { code: await ada.code() });
    expect(next.html).toContain('id="login"');
    expect(browser.jar.has('latchkey_session /')).toBe(false);
  });

  test('the second factor shown in another tab meanwhile is enough', async () => {
    const one = await ask({ acr_values: mfa });
    const other = await ask({ acr_values: mfa });
    await answer(one);
    const next = await browser.open(other.url);
    expect((await answer(next)).get('code')).toBeTruthy();
  });
});
