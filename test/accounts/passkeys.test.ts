/** Adding, using, naming and removing passkeys, with a device in software. */
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { auditEvents, mails, passkeys, rememberedDevices, users } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createPasskey } from '../support/authenticator.ts';
import { createPerson, createStranger } from '../support/person.ts';
import { discover, registerClient, signInThrough } from '../support/relying-party.ts';
import { addPasskey, ask, isSignedIn, personWithPasskey, send, signedInPerson, signInWith } from './passkey-fixture.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startApp({ named: true, env: { TRUST_PROXY: '1' } });
});
afterAll(() => app.close());

const rowsOf = (accountId: string) =>
  app.database.db.select().from(passkeys).where(eq(passkeys.accountId, accountId)).orderBy(passkeys.createdAt);

async function eventsOf(accountId: string): Promise<string[]> {
  const rows = await app.database.db.select().from(auditEvents).where(eq(auditEvents.accountId, accountId));
  return rows.map(({ event }) => event);
}

describe('adding', () => {
  test('asks for a discoverable passkey of this account, and names those it has', async () => {
    const { account, person, passkey } = await personWithPasskey(app);
    const { body } = await send(person, '/account/passkeys/options');
    expect(body.options).toMatchObject({
      rp: { id: 'localhost', name: 'Latchkey' },
      user: { id: Buffer.from(account.sub).toString('base64url'), name: account.email, displayName: account.name },
      attestation: 'none',
      authenticatorSelection: { residentKey: 'required', userVerification: 'preferred' },
      excludeCredentials: [{ id: passkey.id, type: 'public-key', transports: ['internal'] }],
    });
    expect(body.options.pubKeyCredParams.map(({ alg }: { alg: number }) => alg)).toEqual([-8, -7, -257]);
  });

  test('keeps the public key alone, records it and tells the person by mail (SECURITY 56)', async () => {
    const before = await app.database.db.select().from(mails);
    const { account } = await personWithPasskey(app, { synced: true });
    const [row] = await rowsOf(account.sub);
    expect(row).toMatchObject({ counter: 0, deviceType: 'multiDevice', backedUp: true, lastUsedAt: null });
    expect(await eventsOf(account.sub)).toContain('passkey.added');
    expect((await app.database.db.select().from(mails)).length).toBeGreaterThan(before.length);
  });

  test('several may be there, up to 20', async () => {
    const { account, person } = await personWithPasskey(app);
    const [row] = await rowsOf(account.sub);
    const more = Array.from({ length: 18 }, (_, n) => ({
      ...(row as NonNullable<typeof row>),
      credentialId: `more${account.sub}${n}`,
    }));
    await app.database.db.insert(passkeys).values(more);
    expect((await addPasskey(person, createPasskey(app.origin))).status).toBe(201);
    const { status, body } = await addPasskey(person, createPasskey(app.origin));
    expect([status, body.error]).toEqual([409, 'too_many_passkeys']);
    expect(await rowsOf(account.sub)).toHaveLength(20);
  });

  test('needs a recent sign-in (SECURITY 56)', async () => {
    const { account, person } = await signedInPerson(app);
    await app.database.db.execute(`update oidc_sessions set login_ts = login_ts - 3600,
      payload = jsonb_set(payload, '{loginTs}', to_jsonb((payload->>'loginTs')::int - 3600)) where account_id = '${account.sub}'`);
    const { status, body } = await send(person, '/account/passkeys/options');
    expect([status, body.error]).toEqual([401, 'recent_sign_in_required']);
  });
});

describe('signing in', () => {
  test('needs no username, and says what was shown (RFC 8176)', async () => {
    const { account, passkey } = await personWithPasskey(app);
    const browser = createStranger(app);
    const { options } = await ask(browser);
    expect(options).toMatchObject({ rpId: 'localhost', userVerification: 'preferred' });
    expect(options.allowCredentials).toBeUndefined();
    const { status, body, headers } = await signInWith(browser, passkey);
    expect([status, body]).toEqual([200, { sub: account.sub, email: account.email, name: account.name }]);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(await isSignedIn(browser)).toBe(true);
    const rp = await discover(app, await registerClient(app));
    const { tokens } = await signInThrough(app, rp, account, { person: browser });
    expect(tokens.claims()).toMatchObject({ sub: account.sub, amr: ['pop', 'user', 'mfa'] });
  });

  test('within a client’s request goes on to the client', async () => {
    const { account, passkey } = await personWithPasskey(app);
    const rp = await discover(app, await registerClient(app));
    const browser = createStranger(app);
    const request = await rp.start();
    const page = await browser.open(request.url);
    expect(page.html).toContain('id="login-passkey"');
    const { handle, options } = await ask(browser);
    const next = await browser.submit(page, 'login-passkey', {
      handle,
      credential: JSON.stringify(passkey.get(options)),
    });
    const boxes = ['openid', 'profile', 'email'];
    const done = await browser.submit(next, 'consent', { scope: boxes }, 'consent-approve');
    const tokens = await request.finish(done.left as URL);
    expect(tokens.claims()?.sub).toBe(account.sub);
  });

  test('keeps counter, last use and backup state', async () => {
    const { account, passkey } = await personWithPasskey(app, { synced: true });
    await signInWith(createStranger(app), passkey, { backedUp: false });
    const [row] = await rowsOf(account.sub);
    expect(row).toMatchObject({ counter: 1, deviceType: 'multiDevice', backedUp: false, lastUsedAt: expect.any(Date) });
  });

  test('without a counter works again and again', async () => {
    const { passkey } = await personWithPasskey(app, { steps: false });
    for (let time = 0; time < 3; time += 1) {
      expect((await signInWith(createStranger(app), passkey)).status).toBe(200);
    }
  });

  test('with one that did not verify its person is one factor', async () => {
    const { account, passkey } = await personWithPasskey(app);
    const browser = createStranger(app);
    expect((await signInWith(browser, passkey, { userVerified: false })).status).toBe(200);
    const rp = await discover(app, await registerClient(app));
    const { tokens } = await signInThrough(app, rp, account, { person: browser });
    expect(tokens.claims()?.amr).toEqual(['pop', 'user']);
  });

  test('that fails says so on the same page, and where to go on', async () => {
    const { passkey } = await personWithPasskey(app);
    const browser = createStranger(app);
    const page = await browser.open('/auth/login?return_to=/account/passkeys');
    const { handle, options } = await ask(browser);
    const failed = await browser.submit(page, 'login-passkey', {
      handle,
      credential: JSON.stringify(passkey.get(options, { origin: 'https://evil.example' })),
    });
    expect(failed.status).toBe(422);
    expect(failed.html).toContain('That passkey didn’t work here.');
    expect(failed.html).toContain('name="return_to" value="/account/passkeys"');
    const again = await ask(browser);
    const done = await browser.submit(failed, 'login-passkey', {
      handle: again.handle,
      credential: JSON.stringify(passkey.get(again.options)),
    });
    expect(new URL(done.url).pathname).toBe('/account/passkeys');
  });
});

describe('the pages', () => {
  test('list names and last use, rename, and remove', async () => {
    const { account, person, passkey } = await personWithPasskey(app, { synced: true });
    const list = await person.open('/account/passkeys');
    expect(list.status).toBe(200);
    expect(list.html).toContain('Synced');
    expect(list.html).toContain('Not used yet');
    const page = await person.open(`/account/passkeys/${passkey.id}`);
    const empty = await person.submit(page, 'passkey', { name: ' ' });
    expect(empty.status).toBe(422);
    expect(empty.html).toContain('Enter a name.');
    const renamed = await person.submit(page, 'passkey', { name: 'Green phone' });
    expect(renamed.html).toContain('Green phone');
    expect(renamed.html).toContain('The name is saved.');
    const removed = await person.submit(await person.open(`/account/passkeys/${passkey.id}`), 'passkey-removal');
    expect(removed.html).toContain('can’t sign in here any more');
    expect(await rowsOf(account.sub)).toEqual([]);
    expect(await eventsOf(account.sub)).toEqual(
      expect.arrayContaining(['passkey.added', 'passkey.renamed', 'passkey.removed']),
    );
    const { status } = await signInWith(createStranger(app), passkey);
    expect(status).toBe(401);
  });

  test('removing one has remembered browsers asked for the second factor again', async () => {
    const { account, person, passkey } = await personWithPasskey(app);
    const remembered = { tokenHash: passkey.id, accountId: account.sub, expiresAt: new Date(Date.now() + 60_000) };
    await app.database.db.insert(rememberedDevices).values(remembered);
    expect((await send(person, `/account/passkeys/${passkey.id}/removal`)).status).toBe(204);
    const left = await app.database.db
      .select()
      .from(rememberedDevices)
      .where(eq(rememberedDevices.accountId, account.sub));
    expect(left).toEqual([]);
  });

  test('never remove the last way in, even two at a time', async () => {
    const { account, person, passkey } = await personWithPasskey(app);
    const other = createPasskey(app.origin);
    await addPasskey(person, other);
    await app.database.db.update(users).set({ passwordHash: null }).where(eq(users.id, account.sub));
    const removals = await Promise.all(
      [passkey, other].map(({ id }) => send(person, `/account/passkeys/${id}/removal`)),
    );
    expect(removals.map(({ status }) => status).sort()).toEqual([204, 409]);
    expect(removals.find(({ status }) => status === 409)?.body.error).toBe('last_way_in');
    const [left] = await rowsOf(account.sub);
    const page = await person.open(`/account/passkeys/${left?.credentialId}`);
    const refused = await person.submit(page, 'passkey-removal');
    expect(refused.status).toBe(409);
    expect(refused.html).toContain('This passkey is your only way in.');
    expect(await rowsOf(account.sub)).toHaveLength(1);
  });

  test('say where passkeys cannot be', async () => {
    const plain = await startApp();
    try {
      const { person } = await signedInPerson(plain);
      expect((await person.open('/account/passkeys')).html).toContain('Passkeys can’t be added here');
      expect((await createPerson(plain.origin).open('/auth/login')).html).not.toContain('login-passkey');
      expect((await send(person, '/auth/passkey/options')).status).toBe(404);
      expect((await send(person, '/account/passkeys/options')).status).toBe(404);
      expect((await send(person, '/auth/login', { handle: 'x', credential: {} })).status).toBe(401);
    } finally {
      await plain.close();
    }
  });
});
