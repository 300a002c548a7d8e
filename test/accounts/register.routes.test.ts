import { eq } from 'drizzle-orm';
import { beforeEach, describe, expect, test } from 'vitest';
import { findAccountByEmail } from '../../src/accounts/accounts.ts';
import { users } from '../../src/db/schema.ts';
import { accountsBench, alertIn, cookiesOf } from './app.ts';

const bench = accountsBench();
const { password } = bench;
let email: string;
let agent: ReturnType<typeof bench.browser>;
beforeEach(() => {
  email = bench.email;
  agent = bench.browser();
});

describe('registering', () => {
  test('by JSON answers 201 with the account and signs in', async () => {
    const client = bench.program();
    const response = await client.post('/auth/register').send({ email, password, name: ' Ada Moreno ' }).expect(201);
    expect(response.body).toEqual({
      sub: expect.stringMatching(/^u_[\w-]{22}$/),
      email,
      name: 'Ada Moreno',
      email_verified: false,
    });
    expect(response.headers['cache-control']).toBe('no-store');
    await client.get('/account').expect(200);
    const [row] = await bench.db.select().from(users).where(eq(users.id, response.body.sub));
    expect(row?.passwordHash).toMatch(/^\$bcrypt-sha384\$2b\$04\$/);
  });

  test('by form signs in and goes to where the person came from', async () => {
    const page = await agent.get('/auth/register?return_to=/account/profile%3Fa=1').expect(200);
    expect(page.text).toMatch(/<form[^>]* id="register"/);
    expect(page.text).toMatch(/name="return_to"[^>]* value="\/account\/profile\?a=1"/);
    const done = await agent
      .post('/auth/register')
      .type('form')
      .send({ email, password, name: 'Ada', return_to: '/account/profile?a=1' })
      .expect(303);
    expect(done.headers.location).toBe('/account/profile?a=1');
    await agent.get('/account').expect(200);
  });

  test('never returns to another origin (SECURITY 7)', async () => {
    const page = await agent.get('/auth/register?return_to=//evil.example').expect(200);
    expect(page.text).not.toContain('evil');
    const done = await agent
      .post('/auth/register?return_to=https://evil.example')
      .type('form')
      .send({ email, password, name: 'Ada', return_to: '/\\evil.example' })
      .expect(303);
    expect(done.headers.location).toBe('/account');
  });

  test('tells programs every issue with its path', async () => {
    const response = await bench
      .program()
      .post('/auth/register')
      .send({ email: 'ada', password: 'secret' })
      .expect(400);
    expect(response.body).toEqual({
      error: 'invalid_request',
      error_description: expect.any(String),
      issues: [
        { path: 'name', message: 'Enter your name.' },
        { path: 'email', message: 'Enter an address like name@example.com.' },
        { path: 'password', message: 'That’s 6 characters. Use at least 8.' },
      ],
    });
  });

  test('shows people the form again with what they typed, the password apart', async () => {
    const response = await agent
      .post('/auth/register')
      .type('form')
      .send({ email: 'ada', password: 'secret', name: 'Ada <b>' })
      .expect(422);
    expect(response.text).toMatch(/<title>Problem: /);
    expect(alertIn(response.text)).toContain('2 things to fix.');
    expect(response.text).toContain('value="Ada &lt;b&gt;"');
    expect(response.text).toContain('Use at least 8.');
    expect(response.text).not.toContain('secret');
  });

  test('refuses a leaked password and one’s own name', async () => {
    for (const known of ['password1', 'Ada Moreno', email]) {
      const response = await bench
        .program()
        .post('/auth/register')
        .send({ email, password: known, name: 'Ada Moreno' })
        .expect(400);
      expect(response.body.issues).toEqual([{ path: 'password', message: expect.stringMatching(/Choose/) }]);
    }
  });

  test('with a taken address is 409 in JSON, and a page that offers to sign in', async () => {
    await bench.register();
    const json = await bench
      .program()
      .post('/auth/register')
      .send({ email: email.toUpperCase(), password, name: 'Eve' })
      .expect(409);
    expect(json.body).toEqual({ error: 'email_taken', error_description: expect.any(String) });
    expect(cookiesOf(json)).toEqual([]);
    const page = await agent
      .post('/auth/register?return_to=/x')
      .type('form')
      .send({ email, password, name: 'Eve' })
      .expect(409);
    expect(alertIn(page.text)).toContain('href="/auth/login?return_to=%2Fx"');
    expect(page.text).toContain(`value="${email}"`);
    expect((await findAccountByEmail(bench.db, email))?.name).toBe('Ada Moreno');
  });

  test('makes no account when registration is closed', async () => {
    const closed = bench.appWith({ accountRegistration: 'closed' });
    const json = await bench.program(closed).post('/auth/register').send({ email, password, name: 'Ada' }).expect(403);
    expect(json.body.error).toBe('registration_closed');
    expect((await bench.browser(closed).get('/auth/register').expect(403)).text).toContain('href="/auth/login"');
    await bench.browser(closed).post('/auth/register').type('form').send({ email, password, name: 'Ada' }).expect(403);
    expect(await findAccountByEmail(bench.db, email)).toBeUndefined();
  });

  test('is limited to 30 a minute and address', async () => {
    const client = bench.program();
    for (let i = 0; i < 30; i += 1) await client.post('/auth/register').send({}).expect(400);
    const response = await client.post('/auth/register').send({ email, password, name: 'Ada' }).expect(429);
    expect(Number(response.headers['retry-after'])).toBeGreaterThan(0);
    await bench
      .program()
      .set('X-Forwarded-For', '203.0.113.1')
      .post('/auth/register')
      .send({ email, password, name: 'Ada' })
      .expect(201);
  });
});
