import { eq } from 'drizzle-orm';
import type request from 'supertest';
import { beforeEach, describe, expect, test } from 'vitest';
import { createAccount } from '../../src/accounts/accounts.ts';
import { users } from '../../src/db/schema.ts';
import { accountsBench, alertIn, cookiesOf, origin } from './app.ts';

const bench = accountsBench();
const { password } = bench;
let email: string;
let agent: ReturnType<typeof bench.browser>;
beforeEach(() => {
  email = bench.email;
  agent = bench.browser();
});

describe('signing in', () => {
  test('by JSON answers 200 with the account and a cookie', async () => {
    await bench.register();
    const client = bench.program();
    const response = await client.post('/auth/login').send({ email, password }).expect(200);
    expect(response.body).toEqual({ sub: expect.stringMatching(/^u_/), email, name: 'Ada Moreno' });
    expect(response.headers['cache-control']).toBe('no-store');
    await client.get('/account').expect(200);
  });

  test('by form goes to where the person came from, and registering keeps it in mind', async () => {
    await bench.register();
    const page = await agent.get('/auth/login?return_to=/account/profile').expect(200);
    expect(page.text).toMatch(/<form[^>]* id="login"/);
    expect(page.text).toContain('href="/auth/register?return_to=%2Faccount%2Fprofile"');
    const done = await agent
      .post('/auth/login')
      .type('form')
      .send({ email, password, return_to: '/account/profile' })
      .expect(303);
    expect(done.headers.location).toBe('/account/profile');
    const home = await agent
      .post('/auth/login')
      .type('form')
      .send({ email, password, return_to: '//evil.example' })
      .expect(303);
    expect(home.headers.location).toBe('/account');
  });

  test('when signed in already is not asked again', async () => {
    await bench.register();
    await agent.post('/auth/login').type('form').send({ email, password }).expect(303);
    const response = await agent.get('/auth/login?return_to=/account/profile').expect(303);
    expect(response.headers.location).toBe('/account/profile');
  });

  test('fails alike for an unknown address and a wrong password (SECURITY 49)', async () => {
    await bench.register();
    const client = bench.program();
    const wrong = await client.post('/auth/login').send({ email, password: 'not the password' }).expect(401);
    const unknown = await client
      .post('/auth/login')
      .send({ email: `x${email}`, password: 'not the password' })
      .expect(401);
    expect(wrong.body).toEqual({ error: 'invalid_credentials', error_description: expect.any(String) });
    expect(unknown.body).toEqual(wrong.body);
    const names = (response: request.Response) => Object.keys(response.headers).toSorted();
    expect(names(unknown)).toEqual(names(wrong));

    const wrongPage = await agent
      .post('/auth/login')
      .type('form')
      .send({ email, password: 'not the password' })
      .expect(422);
    const unknownPage = await agent
      .post('/auth/login')
      .type('form')
      .send({ email: `x${email}`, password: 'not the password' })
      .expect(422);
    expect(alertIn(wrongPage.text)).toContain('That email and password don’t match.');
    expect(wrongPage.text).toContain(`value="${email}"`);
    expect(wrongPage.text).not.toContain('not the password');
    expect(unknownPage.text.replace(`x${email}`, email)).toBe(wrongPage.text);
    expect(cookiesOf(wrongPage)).toEqual([]);
  });

  test('with fields missing or malformed is a 400, or the form with words at the fields', async () => {
    for (const body of [
      {},
      { email },
      { email: [email], password },
      { email: 'a\0@b.example', password },
      { email, password: 'x'.repeat(1025) },
    ]) {
      const response = await bench.program().post('/auth/login').send(body).expect(400);
      expect(response.body).toMatchObject({
        error: 'invalid_request',
        issues: [{ path: expect.any(String) }, ...(Object.keys(body).length ? [] : [{}])],
      });
    }
    const page = await agent.post('/auth/login').type('form').send({ email: '', password: '' }).expect(422);
    expect(page.text).toContain('Enter your email address.');
    expect(page.text).toContain('Enter your password.');
    await bench.program().post('/auth/login').type('json').send('{"email":').expect(400);
    await bench.program().post('/auth/login').type('text').send('email').expect(415);
    await bench
      .program()
      .post('/auth/login')
      .send({ email, password: 'x'.repeat(1_000_000) })
      .expect(413);
  });

  test('is paused after 30 wrong passwords, but not in a browser that is known (SECURITY 51, 52)', async () => {
    await bench.register();
    await agent.post('/auth/login').type('form').send({ email, password }).expect(303);
    const stranger = bench.program();
    for (let i = 0; i < 30; i += 1)
      await stranger.post('/auth/login').send({ email, password: 'not the password' }).expect(401);
    const refused = await stranger.post('/auth/login').send({ email, password }).expect(429);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(14 * 60);
    expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(15 * 60);
    const page = await bench.browser().post('/auth/login').type('form').send({ email, password }).expect(429);
    expect(alertIn(page.text)).toContain('Too many tries.');
    expect(alertIn(page.text)).toContain('Wait 15 minutes');
    expect(Number(page.headers['retry-after'])).toBeGreaterThan(14 * 60);
    await agent.get('/account').expect(200);
    await agent.post('/auth/logout').type('form').expect(303);
    await agent.post('/auth/login').type('form').send({ email, password }).expect(303);
  });

  test('is limited to 60 a minute and address, however the path is written', async () => {
    const client = bench.program();
    for (let i = 0; i < 60; i += 1)
      await client
        .post(i % 2 ? '/auth/login' : '/AUTH/Login/')
        .send({})
        .expect(400);
    await client.post('/auth/login').send({}).expect(429);
  });

  test('of a suspended account is told so with the right password alone, and its session counts for nothing', async () => {
    await bench.register();
    await agent.post('/auth/login').type('form').send({ email, password }).expect(303);
    await bench.db.update(users).set({ suspendedAt: new Date() }).where(eq(users.emailNormalized, email));
    await bench
      .program()
      .post('/auth/login')
      .send({ email, password: `${password}!` })
      .expect(401);
    const told = await bench.program().post('/auth/login').send({ email, password }).expect(403);
    expect(told.body.error).toBe('account_suspended');
    const page = await bench.browser().post('/auth/login').type('form').send({ email, password }).expect(403);
    expect(alertIn(page.text)).toContain('This account is suspended.');
    expect(cookiesOf(page).filter((cookie) => cookie.startsWith('test_session'))).toEqual([]);
    expect((await agent.get('/account').expect(303)).headers.location).toBe('/auth/login?return_to=%2Faccount');
    await agent.get('/auth/login?return_to=/account').expect(200);
  });
});

describe('signing out', () => {
  test('by form returns to the start page, by JSON is empty, and needs no session', async () => {
    await bench.register();
    await agent.post('/auth/login').type('form').send({ email, password }).expect(303);
    const response = await agent.post('/auth/logout').type('form').expect(303);
    expect(response.headers.location).toBe('/');
    await agent.get('/account').expect(303);
    await agent.post('/auth/logout').type('form').expect(303);
    await bench.program().post('/auth/logout').send({}).expect(204);
    await bench.program().post('/auth/logout').expect(204);
  });
});

test.each([
  '/auth/register',
  '/auth/login',
  '/auth/logout',
  '/account/profile',
  '/account/password',
  '/account/apps/c/disconnection',
])('another site cannot post to %s (SECURITY 28, 30)', async (path) => {
  await bench.register();
  await agent.post('/auth/login').type('form').send({ email, password }).expect(303);
  await agent.post(path).set('Sec-Fetch-Site', 'cross-site').type('form').send({ email, password }).expect(403);
  await agent.post(path).set('Origin', 'https://evil.example').type('form').send({ email, password }).expect(403);
  await agent.post(path).set('Origin', 'null').type('form').send({ email, password }).expect(403);
  await agent.get('/account').expect(200);
  await agent.post('/auth/logout').set('Origin', origin).set('Sec-Fetch-Site', 'same-origin').type('form').expect(303);
});

test.each(['/auth/register', '/auth/login'])('%s answers HEAD and is never stored', async (path) => {
  const response = await agent.head(path).expect(200);
  expect(response.headers['cache-control']).toBe('no-store');
});

test('an account without a password cannot be signed in to with any', async () => {
  await createAccount(bench.db, { email, name: 'Ada', passwordHash: null });
  for (const guess of ['', ' ', 'null', 'undefined']) {
    const { status } = await bench.program().post('/auth/login').send({ email, password: guess });
    expect([400, 401]).toContain(status);
  }
});
