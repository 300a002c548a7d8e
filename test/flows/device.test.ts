/** RFC 8628: a device without a browser shows a code, and a person allows it from another screen. */
import { and, eq, like } from 'drizzle-orm';
import * as client from 'openid-client';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { auditEvents } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { type Device, deviceGrant, enterCode, pollOnce, registerDevice, startDevice } from '../support/device.ts';
import { createPerson, createStranger, type Page, type Person, readCheckboxes, readText } from '../support/person.ts';
import { allow, registerAccount, signIn } from '../support/relying-party.ts';

let app: TestApp;
let ada: Awaited<ReturnType<typeof registerAccount>>;
let tv: Awaited<ReturnType<typeof registerDevice>>;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
  ada = await registerAccount(app);
  tv = await registerDevice(app);
});
afterAll(() => app.close());
afterEach(() => {
  vi.useRealTimers();
});

const newPerson = () => createStranger(app);

async function signedIn(account = ada): Promise<Person> {
  const person = newPerson();
  await signIn(person, await person.open('/auth/login'), account);
  return person;
}

function advance(seconds: number): void {
  const now = Date.now();
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(now + seconds * 1000);
}

const approve = (person: Person, page: Page) => person.submit(page, 'device-confirm', {}, 'device-approve');
const deny = (person: Person, page: Page) => person.submit(page, 'device-confirm', {}, 'device-deny');

/** Signs in and allows, as far as it is asked for. */
async function goOn(person: Person, from: Page, scopes?: string[]): Promise<Page> {
  let page = from;
  if (page.html.includes('id="login"')) page = await signIn(person, page, ada);
  if (page.html.includes('id="consent"')) page = await allow(person, page, scopes);
  return page;
}

async function connect(person: Person, device: Pick<Device, 'user_code'>, scopes?: string[]): Promise<Page> {
  return goOn(person, await approve(person, await enterCode(person, device.user_code)), scopes);
}

const decisions = (clientId: string) =>
  app.database.db
    .select()
    .from(auditEvents)
    .where(and(eq(auditEvents.clientId, clientId), like(auditEvents.event, 'device.%')))
    .orderBy(auditEvents.id);

describe('the whole way', () => {
  test('code, confirmation, sign-in, consent; and the device that polled has its tokens', async () => {
    const device = await startDevice(app, tv, { scope: 'openid profile' });
    expect(device).toEqual({
      device_code: expect.stringMatching(/^[\w-]{43}$/),
      user_code: expect.stringMatching(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/),
      verification_uri: `${app.issuer}/device`,
      verification_uri_complete: `${app.issuer}/device?user_code=${device.user_code}`,
      expires_in: 600,
      interval: 5,
    });
    expect(await pollOnce(app, tv, device)).toMatchObject({ status: 400, error: 'authorization_pending' });

    const person = createPerson(app.origin, { 'x-forwarded-for': '203.0.113.1' });
    const form = await person.open(device.verification_uri);
    expect(form.status).toBe(200);
    const confirm = await person.submit(form, 'device', { user_code: device.user_code }, 'device-submit');
    const words = readText(confirm.html);
    expect(words).toContain('Connect Living Room TV ?');
    expect(words).toContain(device.user_code);
    expect(words).toContain('See your name and profile');
    expect(words).toContain('Only go on if you started this, on a device in front of you.');
    const consent = await signIn(person, await approve(person, confirm), ada);
    expect(readText(consent.html)).not.toContain('This app is at');
    const end = await allow(person, consent);
    expect([end.status, readText(end.html)]).toEqual([200, expect.stringContaining('Your device is connected')]);

    advance(5);
    const answer = await pollOnce(app, tv, device);
    expect(answer).toMatchObject({ status: 200, token_type: 'Bearer', scope: 'openid profile' });
    expect(answer.refresh_token).toBeUndefined();
    const userinfo = await fetch(`${app.issuer}/userinfo`, {
      headers: { authorization: `Bearer ${answer.access_token}` },
    });
    expect(await userinfo.json()).toMatchObject({ sub: ada.sub, name: ada.name });
    expect(await decisions(tv.client_id)).toMatchObject([
      { event: 'device.approved', accountId: ada.sub, address: '203.0.113.1', details: { scope: 'openid profile' } },
    ]);
  });

  test('an independent client library gets there by polling', async () => {
    const { config, poll } = await deviceGrant(app, tv);
    const device = await client.initiateDeviceAuthorization(config, { scope: 'openid email' });
    await connect(newPerson(), device);
    const tokens = await poll(device);
    expect(tokens.claims()).toMatchObject({ sub: ada.sub, aud: tv.client_id });
  });

  test('the code in the address opens the confirmation, and allows nothing by itself', async () => {
    const device = await startDevice(app, tv);
    const person = await signedIn();
    const confirm = await person.open(device.verification_uri_complete);
    expect(confirm.html).not.toMatch(/<script(?! src="\/assets\/app\.js" defer)/);
    expect(readText(confirm.html)).toContain(device.user_code);
    expect(await pollOnce(app, tv, device)).toMatchObject({ error: 'authorization_pending' });
    expect(readText((await goOn(person, await approve(person, confirm))).html)).toContain('Your device is connected');
  });

  test('somebody who is signed in and has consented before only confirms', async () => {
    const radio = await registerDevice(app);
    const person = await signedIn();
    await connect(person, await startDevice(app, radio));
    const device = await startDevice(app, radio);
    const confirm = await enterCode(person, device.user_code);
    expect(readText(confirm.html)).toContain(ada.email);
    expect(readText((await approve(person, confirm)).html)).toContain('Your device is connected');
    expect(await pollOnce(app, radio, device)).toMatchObject({ status: 200 });
  });

  test('the operator’s own app asks for no consent, and still for the confirmation', async () => {
    const own = await registerDevice(app, {}, { firstParty: true });
    const device = await startDevice(app, own, { scope: 'openid profile offline_access' });
    const person = await signedIn();
    const confirm = await enterCode(person, device.user_code);
    expect(confirm.html).toContain('id="device-confirm"');
    expect(readText((await approve(person, confirm)).html)).toContain('Your device is connected');
    expect(await pollOnce(app, own, device)).toMatchObject({ status: 200, refresh_token: expect.any(String) });
  });

  test('another account can be chosen on the way', async () => {
    const bob = await registerAccount(app, { name: 'Bob Okafor' });
    const device = await startDevice(app, tv);
    const person = await signedIn();
    const confirm = await enterCode(person, device.user_code);
    const form = await person.submit(confirm, 'device-confirm', {}, 'device-another');
    const end = await allow(person, await signIn(person, form, bob));
    expect(readText(end.html)).toContain('Your device is connected');
    const { id_token } = await pollOnce(app, tv, device);
    expect(JSON.parse(Buffer.from(String(id_token).split('.')[1] ?? '', 'base64url').toString())).toMatchObject({
      sub: bob.sub,
    });
  });
});

describe('typing', () => {
  const spellings: [string, (code: string) => string][] = [
    ['small letters', (code) => code.toLowerCase()],
    ['no dash', (code) => code.replace('-', '')],
    ['spaces and a long dash', (code) => ` ${code.slice(0, 4)} – ${code.slice(5)} `],
    [
      'what letters are mistaken for',
      (code) =>
        code.replace(/[QLZSGBV]/g, (one) => ({ Q: '0', L: '1', Z: '2', S: '5', G: '6', B: '8', V: 'u' })[one] ?? one),
    ],
  ];

  test.each(spellings)('is forgiven: %s', async (_name, spell) => {
    const device = await startDevice(app, tv);
    const page = await enterCode(newPerson(), spell(device.user_code));
    expect(readText(page.html)).toContain(device.user_code);
    expect(page.html).toContain('id="device-confirm"');
  });

  test('a wrong code is told so, kept, and can be mended', async () => {
    const device = await startDevice(app, tv);
    const person = newPerson();
    const page = await enterCode(person, 'BBBB-BBBB');
    expect(page.status).toBe(422);
    expect(readText(page.html)).toContain('We don’t know that code.');
    expect(page.html).toContain('value="BBBB-BBBB"');
    const again = await person.submit(page, 'device', { user_code: device.user_code }, 'device-submit');
    expect(again.html).toContain('id="device-confirm"');
  });

  test('nothing, and nothing but dashes', async () => {
    for (const typed of ['', '----']) {
      const page = await enterCode(newPerson(), typed);
      expect([typed, page.status]).toEqual([typed, 422]);
      expect(page.html).toContain('id="device"');
    }
  });

  test('a wrong code in the address, or several, is the same page', async () => {
    for (const query of ['user_code=BBBB-BBBB', 'user_code=B&user_code=C', 'user_code=', 'USER_CODE=x']) {
      const page = await newPerson().open(`/oidc/device?${query}`);
      expect([query, page.status]).toEqual([query, query.startsWith('user') ? 422 : 200]);
      expect(page.html).toContain('id="device"');
    }
  });
});

describe('how it ends', () => {
  test('denied on the confirmation: the device is told access_denied', async () => {
    const box = await registerDevice(app);
    const device = await startDevice(app, box);
    const person = newPerson();
    const end = await deny(person, await enterCode(person, device.user_code));
    expect(readText(end.html)).toContain('Nothing was connected');
    expect(end.html).toContain('href="/oidc/device"');
    expect(await pollOnce(app, box, device)).toMatchObject({ status: 400, error: 'access_denied' });
    expect(await decisions(box.client_id)).toMatchObject([{ event: 'device.denied', accountId: null }]);
  });

  test.each(['sign-in', 'consent'])('denied at the %s', async (step) => {
    const box = await registerDevice(app);
    const device = await startDevice(app, box);
    const person = newPerson();
    let page = await approve(person, await enterCode(person, device.user_code));
    if (step === 'sign-in') {
      page = await person.open(`${page.url}/abort`, { method: 'POST', body: new URLSearchParams() });
    } else {
      page = await signIn(person, page, ada);
      page = await person.submit(page, 'consent', {}, 'consent-deny');
    }
    expect(readText(page.html)).toContain('Nothing was connected');
    expect(await pollOnce(app, box, device)).toMatchObject({ status: 400, error: 'access_denied' });
    expect(await decisions(box.client_id)).toMatchObject([{ event: 'device.denied' }]);
  });

  test('expired: the person is told, and the device with expired_token (§3.5)', async () => {
    const device = await startDevice(app, tv);
    const person = newPerson();
    const confirm = await enterCode(person, device.user_code);
    advance(601);
    for (const page of [
      await enterCode(person, device.user_code),
      await person.open(device.verification_uri_complete),
    ]) {
      expect([page.status, readText(page.html)]).toEqual([422, expect.stringContaining('That code has run out.')]);
    }
    expect((await approve(person, confirm)).status).toBe(422);
    expect(await pollOnce(app, tv, device)).toMatchObject({ status: 400, error: 'expired_token' });
  });

  test('used: neither another person nor the same one can use a code again', async () => {
    const device = await startDevice(app, tv);
    const person = newPerson();
    await connect(person, device);
    for (const other of [newPerson(), await signedIn()]) {
      const page = await enterCode(other, device.user_code);
      expect([page.status, readText(page.html)]).toEqual([422, expect.stringContaining('That code was used already.')]);
    }
    expect(readText((await person.open(device.verification_uri_complete)).html)).toContain('Your device is connected');
    expect(await pollOnce(app, tv, device)).toMatchObject({ status: 200 });
    expect(await pollOnce(app, tv, device)).toMatchObject({ status: 400, error: 'invalid_grant' });
  });

  test('a device code of another client, or of nobody, is an invalid grant', async () => {
    const device = await startDevice(app, tv);
    const other = await registerDevice(app);
    expect(await pollOnce(app, other, device)).toMatchObject({ status: 400, error: 'invalid_grant' });
    expect(await pollOnce(app, tv, { device_code: 'x'.repeat(43) })).toMatchObject({ error: 'invalid_grant' });
  });

  test('the end can be loaded again', async () => {
    const person = newPerson();
    const end = await connect(person, await startDevice(app, tv));
    expect(readText((await person.open(end.url)).html)).toContain('Your device is connected');
  });

  test.each(['device-approve', 'device-deny'])('%s pressed twice ends as pressed once', async (button) => {
    const radio = await registerDevice(app);
    const person = await signedIn();
    await connect(person, await startDevice(app, radio));
    const confirm = await enterCode(person, (await startDevice(app, radio)).user_code);
    const first = await person.submit(confirm, 'device-confirm', {}, button);
    const second = await person.submit(confirm, 'device-confirm', {}, button);
    expect(second.url).toBe(first.url);
    expect(second.html).toBe(first.html);
  });
});

describe('on the way', () => {
  test('somebody who got lost enters the code again', async () => {
    const device = await startDevice(app, tv);
    const person = newPerson();
    const login = await approve(person, await enterCode(person, device.user_code));
    const lost = await newPerson().open(login.url);
    expect(lost.status).toBe(400);
    expect(lost.html).toContain('href="/oidc/device"');
    const other = newPerson();
    expect(readText((await connect(other, device)).html)).toContain('Your device is connected');
    expect(readText((await goOn(person, login)).html)).toContain('That code was used already.');
    expect(await pollOnce(app, tv, device)).toMatchObject({ status: 200 });
  });

  test('a finished step offers to enter a code', async () => {
    const device = await startDevice(app, tv);
    const person = newPerson();
    const login = await approve(person, await enterCode(person, device.user_code));
    await goOn(person, login);
    const lost = await person.open(login.url);
    expect(readText(lost.html)).toContain('already finished');
    expect(lost.html).toContain('href="/oidc/device"');
  });

  test('signed out in another tab before the consent: the code can be entered again', async () => {
    const device = await startDevice(app, tv, { scope: 'openid offline_access' });
    const person = newPerson();
    const consent = await signIn(person, await approve(person, await enterCode(person, device.user_code)), ada);
    await person.open('/auth/logout', { method: 'POST', body: new URLSearchParams() });
    const lost = await allow(person, consent);
    expect([lost.status, lost.html.includes('href="/oidc/device"')]).toEqual([400, true]);
    expect(readText((await connect(person, device)).html)).toContain('Your device is connected');
  });

  test('somebody else signed in before the answer came back: nothing is connected in either name', async () => {
    const bob = await registerAccount(app);
    const device = await startDevice(app, tv);
    const person = newPerson();
    const login = await approve(person, await enterCode(person, device.user_code));
    const credentials = ({ email, password }: typeof ada) => new URLSearchParams({ email, password });
    const answer = await person.request(`${login.url}/login`, { method: 'POST', body: credentials(ada) });
    await person.request('/auth/login', { method: 'POST', body: credentials(bob) });
    const lost = await person.open(answer.headers.get('location') as string);
    expect([lost.status, readText(lost.html)]).toEqual([400, expect.stringContaining('Somebody else signed in here')]);
    expect(await pollOnce(app, tv, device)).toMatchObject({ error: 'authorization_pending' });
  });

  test('two tabs: the older form is not lost', async () => {
    const device = await startDevice(app, tv);
    const person = await signedIn();
    const first = await enterCode(person, device.user_code);
    await person.open('/oidc/device');
    const stale = await approve(person, first);
    expect([stale.status, readText(stale.html)]).toEqual([422, expect.stringContaining('Nothing was done yet.')]);
    expect(stale.html).toContain(`value="${device.user_code}"`);
    const again = await person.submit(stale, 'device', { user_code: device.user_code }, 'device-submit');
    expect(again.html).toContain('id="device-confirm"');
  });

  test('a form that comes without a cookie can be sent again', async () => {
    const device = await startDevice(app, tv);
    const person = newPerson();
    const confirm = await enterCode(person, device.user_code);
    person.jar.clear();
    const stale = await approve(person, confirm);
    expect(stale.status).toBe(422);
    const again = await person.submit(stale, 'device', { user_code: device.user_code }, 'device-submit');
    expect(again.html).toContain('id="device-confirm"');
  });
});

describe('staying connected', () => {
  const scope = 'openid offline_access';

  test('is asked on the consent page, unticked, each time', async () => {
    const person = await signedIn();
    for (const _ of ['first', 'second']) {
      const device = await startDevice(app, tv, { scope });
      const consent = await approve(person, await enterCode(person, device.user_code));
      expect(readCheckboxes(consent.html, 'scope')).toEqual({ offline_access: false });
      await allow(person, consent);
      expect(await pollOnce(app, tv, device)).toMatchObject({ status: 200, refresh_token: expect.any(String) });
    }
  });

  test('allowed: the device stays signed in when the browser signs out', async () => {
    const person = newPerson();
    const device = await startDevice(app, tv, { scope });
    await connect(person, device);
    const { refresh_token } = await pollOnce(app, tv, device);
    await person.open('/auth/logout', { method: 'POST', body: new URLSearchParams() });
    const refreshed = await client.refreshTokenGrant((await deviceGrant(app, tv)).config, String(refresh_token));
    expect(refreshed.refresh_token).toBeTruthy();
  });

  test('refused: there is no refresh token, and the device ends with the browser’s session', async () => {
    const person = newPerson();
    const device = await startDevice(app, tv, { scope });
    await connect(person, device, []);
    const answer = await pollOnce(app, tv, device);
    expect(answer.refresh_token).toBeUndefined();
    const status = async () =>
      (await fetch(`${app.issuer}/userinfo`, { headers: { authorization: `Bearer ${answer.access_token}` } })).status;
    expect(await status()).toBe(200);
    await person.open('/auth/logout', { method: 'POST', body: new URLSearchParams() });
    expect(await status()).toBe(401);
  });
});

describe('asking for a code', () => {
  const ask = (metadata: Record<string, string>) =>
    fetch(`${app.issuer}/device/auth`, { method: 'POST', body: new URLSearchParams(metadata) });

  test('needs a client that may', async () => {
    const { client_id } = await registerDevice(app, {
      grant_types: ['authorization_code'],
      redirect_uris: ['https://a.example/'],
    });
    const refused = await ask({ client_id });
    expect([refused.status, await refused.json()]).toMatchObject([400, { error: 'invalid_request' }]);
    const unknown = await ask({ client_id: 'nobody' });
    expect([unknown.status, await unknown.json()]).toMatchObject([401, { error: 'invalid_client' }]);
    const nobody = await ask({});
    expect(nobody.status).toBe(400);
  });

  test('by a confidential client needs its secret', async () => {
    const { client_id } = await registerDevice(app, { token_endpoint_auth_method: 'client_secret_basic' });
    expect((await ask({ client_id })).status).toBe(401);
  });

  test('with a scope the client may not ask for is refused', async () => {
    const { client_id } = await registerDevice(app, { scope: 'openid' });
    expect(await (await ask({ client_id, scope: 'openid email' })).json()).toMatchObject({ error: 'invalid_scope' });
  });

  test('discovery names the endpoint and the grant', async () => {
    const metadata = await (await fetch(`${app.issuer}/.well-known/openid-configuration`)).json();
    expect(metadata).toMatchObject({
      device_authorization_endpoint: `${app.issuer}/device/auth`,
      grant_types_supported: expect.arrayContaining(['urn:ietf:params:oauth:grant-type:device_code']),
    });
  });
});
