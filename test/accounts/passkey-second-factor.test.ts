/** A passkey as the second step, after a password, and as the only step of an account with two-step sign-in. */
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { totpSecrets } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import type { SoftPasskey } from '../support/authenticator.ts';
import type { Person } from '../support/person.ts';
import { createStranger } from '../support/person.ts';
import { discover, registerClient, signInThrough } from '../support/relying-party.ts';
import { type Account, ask, isSignedIn, personWithPasskey, send, signInWith } from './passkey-fixture.ts';

let app: TestApp;
let ada: { account: Account; passkey: SoftPasskey };
let bob: { account: Account; passkey: SoftPasskey };

const optionsPath = '/auth/second-factor/passkey-options';

/** A person with an authenticator app and a passkey. */
async function withTwoSteps() {
  const { account, passkey } = await personWithPasskey(app);
  const secret = { accountId: account.sub, secretEncrypted: 'never opened here', confirmedAt: new Date() };
  await app.database.db.insert(totpSecrets).values(secret);
  return { account, passkey };
}

beforeAll(async () => {
  app = await startApp({ named: true, env: { TRUST_PROXY: '1' } });
  [ada, bob] = await Promise.all([withTwoSteps(), withTwoSteps()]);
});
afterAll(() => app.close());

const enterPassword = ({ email, password }: Account, person = createStranger(app)) =>
  send(person, '/auth/login', { email, password }).then((answer) => ({ person, ...answer }));

async function answer(person: Person, passkey: SoftPasskey, said?: Parameters<SoftPasskey['get']>[1]) {
  const { handle, options } = await ask(person, optionsPath);
  return send(person, '/auth/second-factor', { handle, credential: passkey.get(options, said) });
}

describe('after the password', () => {
  test('a passkey of the account is the second factor, without a PIN too', async () => {
    const { person, status, body } = await enterPassword(ada.account);
    expect([status, body.error]).toEqual([401, 'second_factor_required']);
    expect(body.methods).toContain('passkey');
    const { options } = await ask(person, optionsPath);
    expect(options).toMatchObject({ userVerification: 'discouraged', allowCredentials: [{ id: ada.passkey.id }] });
    expect((await answer(person, ada.passkey, { userVerified: false, userHandle: undefined })).status).toBe(200);
    const rp = await discover(app, await registerClient(app));
    const { tokens } = await signInThrough(app, rp, ada.account, { person });
    expect(tokens.claims()?.amr).toEqual(['pwd', 'pop', 'user', 'mfa']);
  });

  test('on the page, within a client’s request', async () => {
    const rp = await discover(app, await registerClient(app));
    const person = createStranger(app);
    const page = await person.open((await rp.start()).url);
    const { email, password } = ada.account;
    const second = await person.submit(page, 'login', { email, password }, 'login-submit');
    expect(second.html).toContain('id="second-factor-passkey"');
    const asked = /data-options="([^"]+)"/.exec(second.html)?.[1] ?? '';
    const { handle, options } = await ask(person, asked);
    const credential = JSON.stringify(ada.passkey.get(options));
    const wrong = await person.submit(second, 'second-factor-passkey', { handle, credential: '{}' });
    expect(wrong.status).toBe(422);
    expect(wrong.html).toContain('That passkey didn’t work here.');
    const done = await person.submit(wrong, 'second-factor-passkey', { handle, credential });
    expect(done.html).toContain('id="consent"');
  });

  test('somebody else’s passkey, or an answer of the sign-in page, is none', async () => {
    const { person } = await enterPassword(ada.account);
    expect((await answer(person, bob.passkey)).status).toBe(401);
    expect((await answer(person, bob.passkey, { userHandle: ada.passkey.userHandle })).status).toBe(401);
    const { handle, options } = await ask(person);
    const credential = ada.passkey.get(options);
    expect((await send(person, '/auth/second-factor', { handle, credential })).status).toBe(401);
    expect(await isSignedIn(person)).toBe(false);
  });

  test('a challenge of one account’s second step is none for another’s', async () => {
    const person = createStranger(app);
    await enterPassword(ada.account, person);
    const { handle, options } = await ask(person, optionsPath);
    await enterPassword(bob.account, person);
    const credential = bob.passkey.get(options);
    expect((await send(person, '/auth/second-factor', { handle, credential })).status).toBe(401);
    // Nor is it one to sign in with alone.
    expect((await send(person, '/auth/login', { handle, credential: ada.passkey.get(options) })).status).toBe(401);
    expect(await isSignedIn(person)).toBe(false);
  });

  test('eight answers at once make one session', async () => {
    const { person } = await enterPassword(bob.account);
    const { handle, options } = await ask(person, optionsPath);
    const body = { handle, credential: bob.passkey.get(options) };
    const answers = await Promise.all(Array.from({ length: 8 }, () => send(person, '/auth/second-factor', body)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  });
});

test('which passkeys an account has is told to nobody before the password', async () => {
  const person = createStranger(app);
  expect((await send(person, optionsPath)).status).toBe(401);
  await send(person, '/auth/login', { email: ada.account.email, password: 'wrong one' });
  expect((await send(person, optionsPath)).status).toBe(401);
});

describe('alone', () => {
  test('a passkey that verified its person is both steps', async () => {
    const person = createStranger(app);
    expect((await signInWith(person, ada.passkey)).status).toBe(200);
  });

  test('one that did not is the first, and cannot be the second unless it verifies', async () => {
    const person = createStranger(app);
    const first = await signInWith(person, ada.passkey, { userVerified: false });
    expect([first.status, first.body.error]).toEqual([401, 'second_factor_required']);
    expect((await ask(person, optionsPath)).options.userVerification).toBe('required');
    expect((await answer(person, ada.passkey, { userVerified: false })).status).toBe(401);
    expect(await isSignedIn(person)).toBe(false);
    expect((await answer(person, ada.passkey)).status).toBe(200);
  });
});

describe('confirming who it is', () => {
  const age = (accountId: string) =>
    app.database.db.execute(sql`update oidc_sessions set login_ts = login_ts - 3600,
      payload = jsonb_set(payload, '{loginTs}', to_jsonb((payload->>'loginTs')::int - 3600))
      where account_id = ${accountId}`);

  test('a passkey that verifies its person does, in place of the password (SECURITY 31, 56)', async () => {
    const { account, person, passkey } = await personWithPasskey(app);
    await age(account.sub);
    const page = await person.open('/account/passkeys');
    await person.submit(page, 'add-passkey', { handle: 'x', credential: '{}' });
    const confirm = await person.open('/auth/confirm?return_to=/account/passkeys');
    const sessionCookie = () => JSON.stringify([...person.jar].filter(([name]) => name.includes('session')));
    const before = sessionCookie();
    const { handle, options } = await ask(person, '/auth/confirm/passkey-options');
    expect(options).toMatchObject({ userVerification: 'required', allowCredentials: [{ id: passkey.id }] });
    const held = { handle, credential: JSON.stringify(passkey.get(options, { userVerified: false })) };
    const refused = await person.submit(confirm, 'confirm-passkey', held);
    expect([refused.status, refused.html.includes('That passkey didn’t work here.')]).toEqual([422, true]);
    const again = await ask(person, '/auth/confirm/passkey-options');
    const credential = JSON.stringify(passkey.get(again.options));
    const done = await person.submit(refused, 'confirm-passkey', { handle: again.handle, credential });
    expect(new URL(done.url).pathname).toBe('/account/passkeys');
    expect(sessionCookie()).not.toEqual(before);
    expect((await send(person, '/account/passkeys/options')).status).toBe(200);
  });

  test('is not done with a passkey of somebody else, nor without a session', async () => {
    const { account, person } = await personWithPasskey(app);
    await age(account.sub);
    const { handle, options } = await ask(person, '/auth/confirm/passkey-options');
    const credential = bob.passkey.get(options);
    expect((await send(person, '/auth/confirm', { handle, credential })).status).toBe(401);
    expect((await send(person, '/account/passkeys/options')).status).toBe(401);
    expect((await send(createStranger(app), '/auth/confirm/passkey-options')).status).toBe(401);
  });
});
