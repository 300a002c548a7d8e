/** Every page, whoever renders it and whatever went wrong: the same headers, and nothing from anywhere else. */
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { type Device, registerDevice, startDevice } from '../support/device.ts';
import { readLink } from '../support/mailbox.ts';
import { ageSignIns } from '../support/old-sign-in.ts';
import { createPerson, type Page, type Person } from '../support/person.ts';
import {
  allow,
  discover,
  type RelyingParty,
  registerAccount,
  registerClient,
  signIn,
} from '../support/relying-party.ts';
import { atSecondStep, twoStepPerson } from '../support/two-step-person.ts';

let app: TestApp;
let rp: RelyingParty;
let ada: Awaited<ReturnType<typeof registerAccount>>;
let person: Person;

beforeAll(async () => {
  app = await startApp({ env: { PLAYGROUND: 'on' } });
  const redirect_uris = [`${app.origin}/callback`, 'https://kestrel.example/cb'];
  const post_logout_redirect_uris = ['https://kestrel.example/bye'];
  rp = await discover(app, await registerClient(app, { redirect_uris, post_logout_redirect_uris }));
  ada = await registerAccount(app);
  person = createPerson(app.origin);
  await signIn(person, await person.open('/auth/login'), ada);
});
afterAll(() => app.close());

const stranger = () => createPerson(app.origin);
const form = (body: Record<string, string>) => ({ method: 'POST', body: new URLSearchParams(body) });

async function interaction(who: Person, step = '', parameters: Record<string, string> = {}): Promise<Page> {
  const page = await who.open((await rp.start(parameters)).url);
  return step ? who.open(page.url + step) : page;
}

async function confirmSignOut(who: Person, button: string): Promise<Page> {
  await signIn(who, await who.open('/auth/login'), ada);
  return who.submit(await who.open('/oidc/session/end'), 'logout', {}, button);
}

async function device(): Promise<Device> {
  return startDevice(app, await registerDevice(app));
}

async function decide(shown: Device, button: string): Promise<Page> {
  const confirm = await person.open(shown.verification_uri_complete);
  const page = await person.submit(confirm, 'device-confirm', {}, button);
  return page.html.includes('id="consent"') ? allow(person, page) : page;
}

async function verificationLink(): Promise<string> {
  return readLink(app, (await registerAccount(app)).email, 'verify-email');
}

async function resetLink(): Promise<string> {
  const { email } = await registerAccount(app);
  await stranger().open('/auth/forgot-password', form({ email }));
  return readLink(app, email, 'reset-password');
}

async function emailLink(): Promise<string> {
  const bob = await registerAccount(app);
  const who = stranger();
  await signIn(who, await who.open('/auth/login'), bob);
  const email = `new.${bob.email}`;
  await who.open('/account/email', form({ email, password: bob.password }));
  return readLink(app, email, 'change-email-new');
}

async function confirmAddress(who: Person): Promise<Page> {
  return who.submit(await who.open(await verificationLink()), 'verify-email', {}, 'verify-email-submit');
}

/** Name, status, and how to get there. */
const pages: [string, number, () => Promise<Page>][] = [
  ['start', 200, () => stranger().open('/')],
  ['sign-in', 200, () => stranger().open('/auth/login')],
  ['sign-in, malformed', 422, () => stranger().open('/auth/login', form({ email: 'x', password: '' }))],
  ['sign-in, refused', 422, () => stranger().open('/auth/login', form({ email: ada.email, password: 'wrong one' }))],
  ['register', 200, () => stranger().open('/auth/register')],
  ['register, taken', 409, () => stranger().open('/auth/register', form({ ...ada }))],
  ['verify: page', 200, () => verificationLink().then((link) => stranger().open(link))],
  ['verify: ended', 400, () => stranger().open('/auth/verify-email?token=x')],
  ['verify: confirmed', 200, () => confirmAddress(stranger())],
  ['forgot', 200, () => stranger().open('/auth/forgot-password')],
  ['forgot, malformed', 422, () => stranger().open('/auth/forgot-password', form({ email: 'x' }))],
  ['forgot, answered', 200, () => stranger().open('/auth/forgot-password', form({ email: 'x@moreno.example' }))],
  ['reset', 200, () => resetLink().then((link) => stranger().open(link))],
  ['reset: ended', 400, () => stranger().open('/auth/reset-password?token=x')],
  ['email', 200, () => person.open('/account/email')],
  ['email, refused', 422, () => person.open('/account/email', form({}))],
  ['email: question', 200, () => emailLink().then((link) => stranger().open(link))],
  ['email: ended', 400, () => stranger().open('/auth/change-email?token=x')],
  ['outbox', 200, () => stranger().open('/dev/outbox')],
  ['account', 200, () => person.open('/account')],
  ['passkeys', 200, () => person.open('/account/passkeys')],
  ['profile', 200, () => person.open('/account/profile')],
  ['profile, malformed', 422, () => person.open('/account/profile', form({ name: 'x'.repeat(500) }))],
  ['how you sign in', 200, () => person.open('/account/security')],
  ['sessions', 200, () => person.open('/account/sessions')],
  ['apps', 200, () => person.open('/account/apps')],
  ['activity', 200, () => person.open('/account/activity')],
  ['data', 200, () => person.open('/account/data')],
  ['deletion', 200, () => person.open('/account/deletion')],
  ['deletion asked', 200, () => stranger().open('/auth/account-deleted')],
  ['confirm', 200, () => oldSignIn().then((who) => who.open('/auth/confirm'))],
  [
    'confirm, refused',
    422,
    () => oldSignIn().then((who) => who.open('/auth/confirm', form({ password: 'wrong one' }))),
  ],
  ['password', 200, () => person.open('/account/password')],
  ['password, refused', 422, () => person.open('/account/password', form({}))],
  ['two-step sign-in', 200, () => person.open('/account/two-step')],
  ['two-step set-up', 200, () => person.open('/account/two-step/set-up')],
  ['two-step set-up, malformed', 422, () => person.open('/account/two-step/set-up', form({ set_up: 'x', code: '1' }))],
  ['second factor', 200, () => secondStep().then(({ page }) => page)],
  [
    'second factor, refused',
    422,
    () => secondStep().then((at) => at.person.submit(at.page, 'second-factor', { code: '1' })),
  ],
  ['second factor, out of order', 200, () => stranger().open('/auth/second-factor')],
  ['recovery codes', 200, () => renewedCodes()],
  ['few recovery codes', 200, () => fewCodes()],
  ['interaction: second factor needed', 200, () => interaction(person, '', { claims: essentialMfa })],
  ['interaction: sign-in', 200, () => interaction(stranger())],
  ['interaction: register', 200, () => interaction(stranger(), '/register')],
  ['interaction: consent', 200, () => interaction(person, '', { prompt: 'consent' })],
  ['interaction: interrupted', 400, () => stranger().open('/auth/interaction/unknown')],
  ['resume: interrupted', 400, () => stranger().open('/oidc/auth/unknown')],
  ['logout', 200, () => person.open('/oidc/session/end')],
  ['logout, for a client', 200, () => person.open(`/oidc/session/end?client_id=${rp.clientId}`)],
  ['logout, without a session', 200, () => stranger().open('/oidc/session/end')],
  ['logged out', 200, () => confirmSignOut(stranger(), 'logout-confirm')],
  ['stayed signed in', 200, () => confirmSignOut(stranger(), 'logout-stay')],
  ['form_post', 200, () => interaction(person, '', { response_mode: 'form_post', scope: 'openid' }).then(allowed)],
  ['form_post with an error', 400, () => interaction(person, '', { response_mode: 'form_post', scope: 'nonsense' })],
  ['held error', 400, () => interaction(stranger(), '', { scope: 'nonsense', response_type: 'token' })],
  ['device: code', 200, () => stranger().open('/oidc/device')],
  ['device: wrong code', 422, () => stranger().open('/oidc/device?user_code=AAAA-AAAA')],
  ['device: form without a session', 422, () => stranger().open('/oidc/device', form({ user_code: 'AAAA-AAAA' }))],
  [
    'device: confirm',
    200,
    () => device().then(({ verification_uri_complete }) => person.open(verification_uri_complete)),
  ],
  ['device: connected', 200, () => device().then((shown) => decide(shown, 'device-approve'))],
  ['device: denied', 200, () => device().then((shown) => decide(shown, 'device-deny'))],
  ['device: interrupted', 400, () => stranger().open('/oidc/device/unknown')],
  ['library: unknown client', 400, () => stranger().open('/oidc/auth?client_id=nobody')],
  ['library: bad logout hint', 400, () => stranger().open('/oidc/session/end?id_token_hint=x')],
  ['library: not found', 404, () => stranger().open('/oidc/nothing-here')],
  ['not found', 404, () => stranger().open('/nothing-here')],
  ['wrong method', 405, () => stranger().open('/auth/logout')],
  ['another site’s form', 403, () => stranger().open('/auth/login', { ...form({}), headers: { origin: 'null' } })],
  ['too large', 413, () => stranger().open('/auth/login', form({ email: 'x'.repeat(100_000) }))],
  ['playground', 200, () => stranger().open('/playground')],
  ['playground, no run', 404, () => stranger().open('/playground/run')],
];

async function oldSignIn(): Promise<Person> {
  const bob = await registerAccount(app);
  const who = stranger();
  await signIn(who, await who.open('/auth/login'), bob);
  await ageSignIns(app, bob, 11);
  return who;
}

const essentialMfa = JSON.stringify({ id_token: { acr: { essential: true, value: 'urn:latchkey:acr:mfa' } } });

async function secondStep() {
  return atSecondStep(app, (await twoStepPerson(app)).account);
}

async function renewedCodes(): Promise<Page> {
  return (await twoStepPerson(app)).person.open('/account/two-step/recovery-codes', form({}));
}

/** Three are left, whichever. */
async function fewCodes(): Promise<Page> {
  const { account, recoveryCodes } = await twoStepPerson(app);
  await app.database.db.execute(sql`update recovery_codes set used_at = now() where code_hash in
    (select code_hash from recovery_codes where account_id = ${account.sub} limit 7)`);
  const { person: visitor, page: first } = await atSecondStep(app, account);
  let page = first;
  for (const code of recoveryCodes) {
    if (page.html.includes('id="second-factor"')) page = await visitor.submit(page, 'second-factor', { code });
  }
  return page;
}

async function allowed(page: Page): Promise<Page> {
  return page.html.includes('id="consent"') ? allow(person, page) : page;
}

describe.each(pages)('%s', (_name, status, open) => {
  test('cannot be framed, leaks no address, is never stored, runs nothing foreign (SECURITY 24-27)', async () => {
    const { headers, html, ...page } = await open();
    expect([page.status, page.left, headers.get('content-type')]).toEqual([
      status,
      undefined,
      'text/html; charset=utf-8',
    ]);
    expect(headers.get('x-frame-options')).toBe('DENY');
    expect(headers.get('referrer-policy')).toBe('same-origin');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-powered-by')).toBeNull();
    const policy = policyOf(headers);
    expect(policy).toMatchObject({
      'default-src': ["'none'"],
      'frame-ancestors': ["'none'"],
      'base-uri': ["'none'"],
      'style-src': ["'self'"],
    });
    for (const source of policy['script-src'] ?? []) expect(source).toMatch(/^'(self|sha256-[\w+/=]+)'$/);
    expect(JSON.stringify(policy)).not.toMatch(/unsafe|\*|"https?:"/);
    expectNothingForeign(html);
  });
});

function policyOf(headers: Headers): Record<string, string[]> {
  const directives = (headers.get('content-security-policy') ?? '').split(';').map((text) => text.trim().split(/\s+/));
  return Object.fromEntries(directives.map(([name = '', ...sources]) => [name, sources]));
}

/** No handler or style inside the markup, no script but what the policy names by hash, nothing loaded from elsewhere. */
function expectNothingForeign(html: string): void {
  expect(html).not.toMatch(/<[^>]*\son\w+\s*=|<style|<[^>]*\sstyle\s*=|javascript:/i);
  const loaded = [...html.matchAll(/<(?:img|script|link|iframe|object|embed)[^>]*\s(?:src|href|data)="([^"]*)"/g)];
  for (const [, address] of loaded) expect(address).toMatch(/^\/(?!\/)/);
}

describe('form-action', () => {
  test('names the client that the answer redirects to, and nobody else (SECURITY 25)', async () => {
    const kestrel = { redirect_uri: 'https://kestrel.example/cb', prompt: 'consent' };
    for (const page of [
      await interaction(stranger(), '', kestrel),
      await interaction(stranger(), '/register', kestrel),
      await interaction(person, '', kestrel),
    ]) {
      expect(policyOf(page.headers)['form-action']).toEqual(["'self'", 'https://kestrel.example']);
    }
  });

  test('of a sign-out names the client only when it may be returned to', async () => {
    const end = `/oidc/session/end?client_id=${rp.clientId}&post_logout_redirect_uri=`;
    const known = await person.open(end + encodeURIComponent('https://kestrel.example/bye'));
    expect(policyOf(known.headers)['form-action']).toEqual(["'self'", 'https://kestrel.example']);
    const unknown = await person.open(end + encodeURIComponent('https://evil.example/'));
    expect(unknown.status).toBe(400);
    expect(policyOf(unknown.headers)['form-action']).toEqual(["'self'"]);
  });

  test('of pages outside a request is this origin alone, whatever the address says', async () => {
    for (const path of ['/auth/login', '/auth/register', '/oidc/auth?client_id=nobody', '/nothing']) {
      const target = 'redirect_uri=https://evil.example&return_to=https://evil.example';
      const page = await stranger().open(`${path}${path.includes('?') ? '&' : '?'}${target}`);
      expect(policyOf(page.headers)['form-action']).toEqual(["'self'"]);
    }
  });
});

test('answers to programs are not stored and not sniffed either (SECURITY 27)', async () => {
  const json = { accept: 'application/json', 'content-type': 'application/json' };
  const post = (path: string, body: object) =>
    fetch(app.origin + path, { method: 'POST', headers: json, body: JSON.stringify(body) });
  const answers = [
    await post('/auth/login', { email: ada.email, password: ada.password }),
    await post('/auth/login', { email: ada.email, password: 'wrong one' }),
    await post('/auth/register', {}),
    await post('/clients', { redirect_uris: ['https://a.example/'] }),
    await post('/oidc/token', {}),
    await post('/oidc/introspection', {}),
    await post('/oidc/device/auth', {}),
    await fetch(`${app.issuer}/userinfo`),
    await fetch(`${app.origin}/clients/${rp.clientId}`, { headers: json }),
    await fetch((await rp.start()).url, { redirect: 'manual' }),
  ];
  for (const { url, headers } of answers) {
    expect([url, headers.get('cache-control')]).toEqual([url, 'no-store']);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
  }
});
