import { beforeEach, describe, expect, test } from 'vitest';
import { findAccountByEmail } from '../../src/accounts/accounts.ts';
import { accountsBench, alertIn } from './app.ts';

const bench = accountsBench();
const { password } = bench;
let email: string;
let agent: ReturnType<typeof bench.browser>;
beforeEach(() => {
  email = bench.email;
  agent = bench.browser();
});

describe('the account pages', () => {
  test('ask for a sign-in first, and come back', async () => {
    expect((await agent.get('/account/profile?done=saved').expect(303)).headers.location).toBe(
      '/auth/login?return_to=%2Faccount%2Fprofile%3Fdone%3Dsaved',
    );
    expect((await agent.post('/account/profile').type('form').send({}).expect(303)).headers.location).toBe(
      '/auth/login?return_to=%2Faccount',
    );
    expect((await bench.program().post('/account/profile').send({}).expect(401)).body.error).toBe('login_required');
  });

  test('list connected apps and disconnect one', async () => {
    const disconnected: string[] = [];
    const app = bench.appWith({
      connectedApps: async () => [
        { clientId: 'fern wood', name: 'Fernwood <Library>', since: new Date('2026-01-02'), scopes: ['See your name'] },
      ],
      disconnectApp: async (accountId, clientId) => {
        disconnected.push(accountId, clientId);
      },
    });
    const client = bench.browser(app);
    const { body } = await client.post('/auth/register').send({ email, password, name: 'Ada' }).expect(201);
    const home = await client.get('/account/apps').expect(200);
    expect(home.headers['cache-control']).toBe('no-store');
    expect(home.text).toContain('Fernwood &lt;Library&gt;');
    expect(home.text).toContain('action="/account/apps/fern%20wood/disconnection"');
    const done = await client.post('/account/apps/fern%20wood/disconnection').type('form').expect(303);
    expect(disconnected).toEqual([body.sub, 'fern wood']);
    expect((await client.get(String(done.headers.location)).expect(200)).text).toContain(
      'That app is no longer connected.',
    );
    expect((await client.get('/account/apps?done=constructor').expect(200)).text).not.toContain('native code');
    await client.post('/account/apps/a%00b/disconnection').type('form').expect(404);
    await client.post('/account/apps/%zz/disconnection').type('form').expect(400);
  });

  test('save a profile, say so, and show what is wrong at its field', async () => {
    await agent.post('/auth/register').type('form').send({ email, password, name: 'Ada' }).expect(303);
    const saved = await agent
      .post('/account/profile')
      .type('form')
      .send({ name: 'Ada M.', zoneinfo: 'Europe/Lisbon', nickname: '' });
    expect(saved.status).toBe(303);
    const page = await agent.get(String(saved.headers.location)).expect(200);
    expect(page.text).toContain('Your profile is saved.');
    expect(page.text).toContain('value="Europe/Lisbon"');
    expect(await findAccountByEmail(bench.db, email)).toMatchObject({
      name: 'Ada M.',
      zoneinfo: 'Europe/Lisbon',
      nickname: null,
    });

    const wrong = await agent
      .post('/account/profile')
      .type('form')
      .send({ name: 'Eve', birthdate: 'tomorrow', email: 'eve@moreno.example' })
      .expect(422);
    expect(alertIn(wrong.text)).toContain('One thing to fix.');
    expect(wrong.text).toContain('value="tomorrow"');
    expect(wrong.text).toContain('Enter a date like 1994-06-27');
    expect(await findAccountByEmail(bench.db, email)).toMatchObject({ name: 'Ada M.', email });
  });

  test('take a profile as JSON too and answer with the claims', async () => {
    const client = bench.program();
    const { body } = await client.post('/auth/register').send({ email, password, name: 'Ada' }).expect(201);
    const saved = await client.post('/account/profile').send({ locality: 'Lisboa', country: 'Portugal' }).expect(200);
    expect(saved.body).toMatchObject({ sub: body.sub, name: 'Ada', address: { formatted: 'Lisboa\nPortugal' } });
    const refused = await client.post('/account/profile').send({ website: 'javascript:alertIn(1)' }).expect(400);
    expect(refused.body.issues).toEqual([{ path: 'website', message: expect.stringContaining('https://') }]);
  });
});
