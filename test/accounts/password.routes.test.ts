import { beforeEach, describe, expect, test } from 'vitest';
import { accountsBench, alertIn, cookiesOf } from './app.ts';

const bench = accountsBench();
const { password } = bench;
const next = 'kestrel over tidewater';
let email: string;
beforeEach(async () => {
  email = bench.email;
  await bench.register();
});

async function signedIn(agent: ReturnType<typeof bench.browser>) {
  await agent.post('/auth/login').send({ email, password }).expect(200);
  return agent;
}

const signInStatus = async (secret: string) =>
  (await bench.program().post('/auth/login').send({ email, password: secret })).status;

describe('the page', () => {
  test('asks for a sign-in first, and comes back', async () => {
    const agent = bench.browser();
    expect((await agent.get('/account/password').expect(303)).headers.location).toBe(
      '/auth/login?return_to=%2Faccount%2Fpassword',
    );
    const body = { current_password: password, new_password: next };
    const form = await agent.post('/account/password').type('form').send(body).expect(303);
    expect(form.headers.location).toBe('/auth/login?return_to=%2Faccount');
    expect((await bench.program().post('/account/password').send(body).expect(401)).body.error).toBe('login_required');
    expect([await signInStatus(password), await signInStatus(next)]).toEqual([200, 401]);
  });

  test('is a form that password managers understand', async () => {
    const agent = await signedIn(bench.browser());
    const { text, headers } = await agent.get('/account/password').expect(200);
    expect(headers['cache-control']).toBe('no-store');
    const inputOf = (id: string) => new RegExp(`<input[^>]*\\sid="${id}"[^>]*>`).exec(text)?.[0];
    expect(inputOf('username')).toContain(`autocomplete="username" readonly value="${email}"`);
    expect(inputOf('current_password')).toContain('autocomplete="current-password"');
    expect(inputOf('new_password')).toContain(
      'autocomplete="new-password" minlength="8" passwordrules="minlength: 8;"',
    );
    expect(text).toContain('<a href="/account/security" aria-current="page">Sign-in</a>');
  });

  test('changes the password and says so', async () => {
    const agent = await signedIn(bench.browser());
    const done = await agent
      .post('/account/password')
      .type('form')
      .send({ username: 'ignored', current_password: password, new_password: next })
      .expect(303);
    expect(done.headers.location).toBe('/account?done=password');
    expect(cookiesOf(done).some((cookie) => cookie.startsWith('test_session='))).toBe(true);
    expect((await agent.get('/account?done=password').expect(200)).text).toContain('Your password is changed.');
    expect([await signInStatus(password), await signInStatus(next)]).toEqual([401, 200]);
  });

  test.each([
    ['nothing', {}, ['Enter your password.', 'Choose a password.']],
    ['a wrong current one', { current_password: 'not it', new_password: next }, ['That’s not your password now.']],
    ['a short new one', { current_password: password, new_password: 'abc' }, ['That’s 3 characters.']],
    ['a common new one', { current_password: password, new_password: 'password1' }, ['has appeared in a leak']],
    [
      'the same once more',
      { current_password: password, new_password: password },
      ['That’s your password now. Choose'],
    ],
  ])('given %s says what is to mend, and sends nothing typed back', async (_what, body, words) => {
    const agent = await signedIn(bench.browser());
    const { text } = await agent.post('/account/password').type('form').send(body).expect(422);
    expect(alertIn(text)).toContain(words.length === 1 ? 'One thing to fix.' : '2 things to fix.');
    for (const word of words) expect(text).toContain(word);
    expect(text.match(/aria-invalid="true"/g)).toHaveLength(words.length);
    expect(text.match(/\sautofocus/g)).toHaveLength(1);
    for (const typed of Object.values(body)) expect(text).not.toContain(typed);
    expect([await signInStatus(password), await signInStatus(next)]).toEqual([200, 401]);
    await agent.get('/account').expect(200);
  });
});

describe('a program', () => {
  test('changes the password and is signed in anew', async () => {
    const agent = await signedIn(bench.program());
    const done = await agent
      .post('/account/password')
      .send({ current_password: password, new_password: next })
      .expect(204);
    expect(cookiesOf(done).some((cookie) => cookie.startsWith('test_session='))).toBe(true);
    await agent.get('/account').expect(200);
    expect([await signInStatus(password), await signInStatus(next)]).toEqual([401, 200]);
  });

  test('is told what was wrong', async () => {
    const agent = await signedIn(bench.program());
    const send = (body: object) => agent.post('/account/password').send(body);
    const rejected = await send({ current_password: 'not it', new_password: next }).expect(401);
    expect(rejected.body.error).toBe('invalid_credentials');
    const invalid = await send({ current_password: 7, new_password: 'abc' }).expect(400);
    expect(invalid.body).toMatchObject({
      error: 'invalid_request',
      issues: [
        { path: 'current_password', message: 'Enter your password.' },
        { path: 'new_password', message: 'That’s 3 characters. Use at least 8.' },
      ],
    });
    const same = await send({ current_password: password, new_password: password }).expect(400);
    expect(same.body.issues).toEqual([{ path: 'new_password', message: 'That’s your password now. Choose another.' }]);
  });
});

test('a failure while sessions are ended leaves the old password', async () => {
  const app = bench.appWith({
    endSessions: () => Promise.reject(new Error('the sessions could not be ended')),
  });
  const agent = await signedIn(bench.program(app));
  await agent.post('/account/password').send({ current_password: password, new_password: next }).expect(500);
  expect([await signInStatus(password), await signInStatus(next)]).toEqual([200, 401]);
});
