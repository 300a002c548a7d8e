/** What must not sign anybody in, each thing wrong by itself (WebAuthn §7), and what a stranger can learn: nothing. */
import { generateKeyPairSync } from 'node:crypto';
import { and, eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { auditEvents, passkeyChallenges, passkeys, users } from '../../src/db/schema.ts';
import { sha256 } from '../../src/lib/hash.ts';
import {
  type Account,
  addPasskey,
  ask,
  isSignedIn,
  personWithPasskey,
  send,
  signedInPerson,
  signInWith,
} from '../accounts/passkey-fixture.ts';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { type Answering, createPasskey, type MakingOptions, type SoftPasskey } from '../support/authenticator.ts';
import { createPerson, createStranger, type Person } from '../support/person.ts';

let app: TestApp;
let ada: { account: Account; person: Person; passkey: SoftPasskey };

beforeAll(async () => {
  app = await startApp({ named: true, env: { TRUST_PROXY: '1' } });
  ada = await personWithPasskey(app);
});
afterAll(() => app.close());

const stranger = () => createStranger(app);
const refusal = { error: 'invalid_credentials', error_description: 'That passkey did not work here.' };

async function failuresOf(accountId: string): Promise<unknown[]> {
  const rows = await app.database.db
    .select()
    .from(auditEvents)
    .where(and(eq(auditEvents.accountId, accountId), eq(auditEvents.event, 'login.failed')));
  return rows.map(({ details }) => details.reason);
}

describe('an answer', () => {
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const wrong: [string, Answering, string][] = [
    ['of another origin', { origin: 'https://localhost.evil.example' }, 'signature'],
    ['of another port of the host', { origin: 'http://localhost:1' }, 'signature'],
    ['for another relying party', { rpId: 'evil.example' }, 'signature'],
    ['to another challenge', { challenge: 'A'.repeat(43) }, 'signature'],
    ['that is a registration', { type: 'webauthn.create' }, 'signature'],
    ['from a frame', { crossOrigin: true }, 'signature'],
    ['without anybody there', { userPresent: false }, 'signature'],
    ['signed with another key', { signWith: other }, 'signature'],
    [
      'with the user handle of somebody else',
      { userHandle: Buffer.from('u_other').toString('base64url') },
      'user-handle',
    ],
    ['without a user handle', { userHandle: undefined }, 'user-handle'],
  ];

  test.each(wrong)('%s signs nobody in, and looks like any other failure', async (_what, said, reason) => {
    const browser = stranger();
    const { status, body } = await signInWith(browser, ada.passkey, said);
    expect([status, body]).toEqual([401, refusal]);
    expect(await isSignedIn(browser)).toBe(false);
    expect((await failuresOf(ada.account.sub)).at(-1)).toBe(reason);
  });

  test('with the id of one passkey and the key of another signs nobody in', async () => {
    const mallory = await personWithPasskey(app);
    const browser = stranger();
    const { handle, options } = await ask(browser);
    const credential = { ...mallory.passkey.get(options), id: ada.passkey.id, rawId: ada.passkey.id };
    expect((await send(browser, '/auth/login', { handle, credential })).status).toBe(401);
    // The right key, but the person somebody else.
    const swapped = await signInWith(browser, mallory.passkey, { userHandle: ada.passkey.userHandle });
    expect(swapped.status).toBe(401);
    expect(await isSignedIn(browser)).toBe(false);
  });

  test('of an unknown passkey says no more than that of a known one', async () => {
    const unknown = createPasskey(app.origin);
    const { status, body } = await signInWith(stranger(), unknown, { userHandle: ada.passkey.userHandle });
    expect([status, body]).toEqual([401, refusal]);
  });

  test.each([
    ['nothing', {}],
    ['text', { handle: 'x', credential: 'x' }],
    ['null', { handle: null, credential: null }],
    ['empty parts', { handle: 'x', credential: { id: '', rawId: '', type: 'public-key', response: {} } }],
    ['a list', { handle: ['x'], credential: [[]] }],
    ['NUL and the like', { handle: '\u0000', credential: { id: '\u0000', rawId: '\u0000', type: 'public-key' } }],
  ])('that is %s is refused and nothing breaks', async (_what, body) => {
    const answer = await send(stranger(), '/auth/login', { credential: undefined, ...body });
    expect([400, 401]).toContain(answer.status);
  });

  test('with parts cut short, swapped or of the wrong kind is refused and nothing breaks', async () => {
    const browser = stranger();
    for (const part of ['clientDataJSON', 'authenticatorData', 'signature', 'userHandle'] as const) {
      for (const change of [
        (text: string) => text.slice(0, -8),
        () => '',
        () => 'AAAA',
        (text: string) => `AAAA${text}`,
      ]) {
        const { handle, options } = await ask(browser);
        const credential = ada.passkey.get(options);
        const response = { ...credential.response, [part]: change(credential.response[part] ?? '') };
        const { status } = await send(browser, '/auth/login', { handle, credential: { ...credential, response } });
        expect([part, status]).toEqual([part, 401]);
      }
    }
    expect(await isSignedIn(browser)).toBe(false);
  });

  test('that is huge is not read', async () => {
    const credential = { id: 'x'.repeat(100_000) };
    expect((await send(stranger(), '/auth/login', { handle: 'x', credential })).status).toBe(413);
  });
});

describe('a challenge', () => {
  test('is answered once, eight at a time or one after another', async () => {
    const { passkey } = await personWithPasskey(app, { steps: false });
    const browser = stranger();
    const { handle, options } = await ask(browser);
    const answer = { handle, credential: passkey.get(options) };
    const answers = await Promise.all(Array.from({ length: 8 }, () => send(browser, '/auth/login', answer)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(401)]);
    expect((await send(stranger(), '/auth/login', answer)).status).toBe(401);
    expect((await send(browser, '/auth/login', answer)).status).toBe(401);
  });

  test('is used up by a wrong answer', async () => {
    const browser = stranger();
    const { handle, options } = await ask(browser);
    const wrong = { handle, credential: ada.passkey.get(options, { origin: 'https://evil.example' }) };
    expect((await send(browser, '/auth/login', wrong)).status).toBe(401);
    const right = { handle, credential: ada.passkey.get(options) };
    expect((await send(browser, '/auth/login', right)).status).toBe(401);
  });

  test('is answered by the browser that asked alone (SECURITY 29)', async () => {
    const { handle, options } = await ask(stranger());
    const answer = { handle, credential: ada.passkey.get(options) };
    const elsewhere = stranger();
    expect((await send(elsewhere, '/auth/login', answer)).status).toBe(401);
    await ask(elsewhere);
    expect((await send(elsewhere, '/auth/login', answer)).status).toBe(401);
    expect(await isSignedIn(elsewhere)).toBe(false);
  });

  test('runs out after five minutes', async () => {
    const browser = stranger();
    const { handle, options } = await ask(browser);
    const answer = { handle, credential: ada.passkey.get(options) };
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 5 * 60_000 + 1000 });
    try {
      expect((await send(browser, '/auth/login', answer)).status).toBe(401);
    } finally {
      vi.useRealTimers();
    }
  });

  test('of one purpose is none for another', async () => {
    const signIn = await ask(ada.person);
    const adding = await ask(ada.person, '/account/passkeys/options');
    const made = createPasskey(app.origin).create({ ...signIn.options, rp: {}, user: { id: ada.passkey.userHandle } });
    expect((await send(ada.person, '/account/passkeys', { handle: signIn.handle, credential: made })).status).toBe(400);
    const answer = { handle: adding.handle, credential: ada.passkey.get(adding.options) };
    expect((await send(ada.person, '/auth/login', answer)).status).toBe(401);
  });

  test('is kept as a hash of what the browser holds (SECURITY 57)', async () => {
    const browser = stranger();
    const { handle, options } = await ask(browser);
    const [row] = await app.database.db
      .select()
      .from(passkeyChallenges)
      .where(eq(passkeyChallenges.challenge, options.challenge));
    expect(row?.idHash).not.toBe(sha256(handle));
    expect(JSON.stringify(row)).not.toContain(handle);
  });

  test('is not given to another site’s page (SECURITY 28)', async () => {
    for (const path of ['/auth/passkey/options', '/account/passkeys/options', '/account/passkeys']) {
      const { status } = await send(ada.person, path, {}, { 'sec-fetch-site': 'cross-site' });
      expect([path, status]).toEqual([path, 403]);
    }
  });

  test('sets a cookie that no script reads and no other site sends (SECURITY 32)', async () => {
    const { headers } = await send(stranger(), '/auth/passkey/options');
    const [cookie] = headers.getSetCookie();
    expect(cookie).toMatch(/^latchkey-passkey=[\w-]{22}; Path=\/; HttpOnly; SameSite=Strict$/);
    const secure = await startAppForTest({ env: { OIDC_ISSUER: 'https://id.example' } });
    const answer = await fetch(`http://127.0.0.1:${secure.port}/auth/passkey/options`, { method: 'POST' });
    expect(answer.headers.getSetCookie()[0]).toMatch(
      /^__Host-latchkey-passkey=[\w-]{22}; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
    );
    expect(await answer.json()).toMatchObject({ options: { rpId: 'id.example' } });
  });
});

describe('a passkey', () => {
  test('whose counter does not move on was copied: it is refused and recorded', async () => {
    const { account, passkey } = await personWithPasskey(app);
    expect((await signInWith(stranger(), passkey, { counter: 7 })).status).toBe(200);
    for (const counter of [7, 6, 0]) {
      const { status, body } = await signInWith(stranger(), passkey, { counter });
      expect([status, body]).toEqual([401, refusal]);
    }
    const [row] = await app.database.db.select().from(passkeys).where(eq(passkeys.credentialId, passkey.id));
    expect(row?.counter).toBe(7);
    const events = await app.database.db
      .select()
      .from(auditEvents)
      .where(and(eq(auditEvents.accountId, account.sub), eq(auditEvents.event, 'passkey.refused')));
    expect(events).toHaveLength(3);
    expect(events[0]).toMatchObject({ outcome: 'failure', details: { reason: 'counter', counter: 7 } });
    expect((await signInWith(stranger(), passkey, { counter: 8 })).status).toBe(200);
  });

  test('with the same counter in eight challenges at once wins once', async () => {
    const { passkey } = await personWithPasskey(app);
    const tries = await Promise.all(Array.from({ length: 8 }, () => signInWith(stranger(), passkey, { counter: 5 })));
    expect(tries.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(401)]);
  });

  test('of a suspended account signs nobody in, and does again once it is reinstated', async () => {
    const { account, passkey } = await personWithPasskey(app);
    const suspend = (suspendedAt: Date | null) =>
      app.database.db.update(users).set({ suspendedAt }).where(eq(users.id, account.sub));
    await suspend(new Date());
    const browser = stranger();
    expect((await signInWith(browser, passkey)).status).toBe(403);
    expect(await isSignedIn(browser)).toBe(false);
    // Nothing of it is told without the passkey itself.
    expect((await signInWith(browser, passkey, { origin: 'https://evil.example' })).body).toEqual(refusal);
    await suspend(null);
    expect((await signInWith(browser, passkey)).status).toBe(200);
  });

  test('that was removed signs nobody in with a challenge from before', async () => {
    const { person, passkey } = await personWithPasskey(app);
    const browser = stranger();
    const { handle, options } = await ask(browser);
    expect((await send(person, `/account/passkeys/${passkey.id}/removal`)).status).toBe(204);
    expect((await send(browser, '/auth/login', { handle, credential: passkey.get(options) })).status).toBe(401);
  });

  test('is seen, renamed and removed by its owner alone', async () => {
    const mallory = await personWithPasskey(app);
    const path = `/account/passkeys/${ada.passkey.id}`;
    expect((await mallory.person.request(path)).status).toBe(404);
    expect((await send(mallory.person, path, { name: 'Mine' })).status).toBe(404);
    expect((await send(mallory.person, `${path}/removal`)).status).toBe(404);
    expect((await send(stranger(), `${path}/removal`)).status).toBe(401);
    for (const id of ['%00', 'x'.repeat(3000), '%E0%A4%A']) {
      const { status } = await mallory.person.request(`/account/passkeys/${id}`);
      expect([400, 404]).toContain(status);
    }
    expect((await signInWith(stranger(), ada.passkey)).status).toBe(200);
  });

  test('that somebody has cannot be added by somebody else', async () => {
    const mallory = await signedInPerson(app);
    const copy = createPasskey(app.origin, { id: Buffer.from(ada.passkey.id, 'base64url') });
    const { status, body } = await addPasskey(mallory.person, copy);
    expect([status, body.error]).toEqual([400, 'invalid_passkey']);
    const [row] = await app.database.db.select().from(passkeys).where(eq(passkeys.credentialId, ada.passkey.id));
    expect(row?.accountId).toBe(ada.account.sub);
  });
});

describe('a registration', () => {
  const x5c = new Map<string, never>([['x5c', Buffer.from('certificate') as never]]);
  const wrong: [string, MakingOptions][] = [
    ['of another origin', { origin: 'https://evil.example' }],
    ['for another relying party', { rpId: 'evil.example' }],
    ['to another challenge', { challenge: 'A'.repeat(43) }],
    ['that is a sign-in', { type: 'webauthn.get' }],
    ['from a frame', { crossOrigin: true }],
    ['with an algorithm that was not offered', { algorithm: -65_535 }],
    // The library would fetch revocation lists from addresses in these (SECURITY 38).
    ['with certificates', { fmt: 'packed', attStmt: x5c }],
    ['with an attestation of another kind', { fmt: 'fido-u2f', attStmt: x5c }],
    ['with an unknown attestation', { fmt: 'x' }],
  ];

  test.each(wrong)('%s adds nothing', async (_what, said) => {
    const { status, body } = await addPasskey(ada.person, createPasskey(app.origin), said);
    expect([status, body.error]).toEqual([400, 'invalid_passkey']);
    const rows = await app.database.db.select().from(passkeys).where(eq(passkeys.accountId, ada.account.sub));
    expect(rows.map(({ credentialId }) => credentialId)).toEqual([ada.passkey.id]);
  });

  test('answers a challenge of its own account, once', async () => {
    const { account, person } = await signedInPerson(app);
    const offer = (await ask(person, '/account/passkeys/options')) as never as {
      handle: string;
      options: Parameters<SoftPasskey['create']>[0];
    };
    const make = () => ({ handle: offer.handle, credential: createPasskey(app.origin).create(offer.options) });
    // Another account's session, with the cookie of the browser that asked.
    const mallory = await signedInPerson(app);
    const cookie = [...person.jar].find(([name]) => name.startsWith('latchkey-passkey'));
    if (cookie) mallory.person.jar.set(cookie[0], cookie[1]);
    expect((await send(mallory.person, '/account/passkeys', make())).status).toBe(400);
    const answers = await Promise.all(Array.from({ length: 8 }, () => send(person, '/account/passkeys', make())));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(7).fill(400)]);
    expect(await app.database.db.select().from(passkeys).where(eq(passkeys.accountId, account.sub))).toHaveLength(1);
  });

  test('needs somebody who is signed in', async () => {
    expect((await send(stranger(), '/account/passkeys/options')).status).toBe(401);
    expect((await send(stranger(), '/account/passkeys', {})).status).toBe(401);
  });
});

test('wrong ones are counted by address (SECURITY 51)', async () => {
  const own = await startAppForTest({ named: true });
  const { passkey } = await personWithPasskey(own);
  const browser = createPerson(own.origin);
  let status = 0;
  for (let tries = 0; tries < 70 && status !== 429; tries += 1) {
    ({ status } = await signInWith(browser, passkey, { origin: 'https://evil.example' }));
  }
  expect(status).toBe(429);
});
