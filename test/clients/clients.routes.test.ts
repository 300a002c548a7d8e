import request from 'supertest';
import { describe, expect, test, vi } from 'vitest';
import { secretHashes } from '../../src/clients/client-facts.ts';
import { createSecretVerifier } from '../../src/clients/client-secret.ts';
import { deleteClient, findClient } from '../../src/clients/clients.ts';
import { createInitialAccessToken } from '../../src/clients/initial-access-tokens.ts';
import { throttles } from '../../src/db/schema.ts';
import { rateLimits } from '../../src/http/rate-limit.ts';
import { origin, useClients } from './fixture.ts';

const clients = useClients();
const minimal = { client_name: 'Fernwood Library', redirect_uris: ['https://fernwood.example/callback'] };

async function registerAt(door: string, metadata: object = {}) {
  const { body } = await request(clients.app())
    .post(door)
    .send({ ...minimal, ...metadata })
    .expect(201);
  return body as { client_id: string; client_secret?: string; registration_access_token: string };
}

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });

async function isSecret(clientId: string, secret: string): Promise<boolean> {
  const client = await findClient(clients.db, clientId);
  return createSecretVerifier(clients).verify(client ? secretHashes(client) : [], secret);
}

describe.each(['/clients', '/oidc/reg'])('the door %s', (door) => {
  const register = (metadata: object = {}) => registerAt(door, metadata);

  describe('POST', () => {
    test('registers with a name and a redirect URI alone', async () => {
      const response = await request(clients.app()).post(door).send(minimal);
      expect(response.status).toBe(201);
      expect(response.headers['cache-control']).toBe('no-store');
      expect(response.body).toMatchObject({
        ...minimal,
        client_id: expect.stringMatching(/^c_/),
        client_id_issued_at: expect.any(Number),
        client_secret: expect.stringMatching(/^[\w-]{43}$/),
        client_secret_expires_at: 0,
        grant_types: ['authorization_code'],
        response_types: ['code'],
        token_endpoint_auth_method: 'client_secret_basic',
        registration_access_token: expect.stringMatching(/^[\w-]{43}$/),
        registration_client_uri: `${origin}${door}/${response.body.client_id}`,
      });
      expect(await isSecret(response.body.client_id, response.body.client_secret)).toBe(true);
    });

    test('gives a public client no secret', async () => {
      const body = await register({ token_endpoint_auth_method: 'none' });
      expect(body).not.toHaveProperty('client_secret');
      expect(body).not.toHaveProperty('client_secret_expires_at');
    });

    test('assigns the id itself', async () => {
      expect((await register({ client_id: 'chosen' })).client_id).not.toBe('chosen');
    });

    test('has the logo fetched', async () => {
      const { client_id } = await register({ logo_uri: 'https://fernwood.example/logo.png' });
      expect(clients.logosAsked.at(-1)?.clientId).toBe(client_id);
    });

    test.each([
      ['{"redirect_uris":', 'application/json', 400],
      ['[]', 'application/json', 400],
      ['"text"', 'application/json', 400],
      ['redirect_uris=https://a.example/', 'application/x-www-form-urlencoded', 415],
      ['<client/>', 'text/xml', 415],
      [JSON.stringify({ ...minimal, client_name: 'x'.repeat(70_000) }), 'application/json', 413],
      [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 'application/json', 400],
    ])('answers the body %s as %s with %i', async (body, type, status) => {
      const agent = request(clients.app()).post(door).set('Content-Type', type);
      await agent
        .serialize((raw) => raw as unknown as string)
        .send(body as string)
        .expect(status);
    });

    test('answers no body at all with what is missing', async () => {
      const { status, body } = await request(clients.app()).post(door);
      expect([status, body.error]).toEqual([400, 'invalid_redirect_uri']);
    });

    test('says what is wrong with the metadata', async () => {
      const { status, body } = await request(clients.app())
        .post(door)
        .send({ redirect_uris: ['javascript:x'] });
      expect(status).toBe(400);
      expect(body).toEqual({
        error: 'invalid_redirect_uri',
        error_description: 'redirect_uris.0 must not use the scheme javascript',
        issues: [{ path: 'redirect_uris.0', message: 'must not use the scheme javascript' }],
      });
    });

    test('lets 30 a minute through from one address, and says when to come back', async () => {
      await clients.db.delete(throttles);
      vi.useFakeTimers({ toFake: ['Date'] });
      const app = clients.app({ rateLimit: rateLimits(clients.db) });
      const statuses: number[] = [];
      for (let i = 0; i < 30; i++) statuses.push((await request(app).post(door).send({})).status);
      expect(new Set(statuses)).toEqual(new Set([400]));
      const refused = await request(app).post(door).send(minimal).expect(429);
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
      vi.setSystemTime(Date.now() + 61_000);
      await request(app).post(door).send(minimal).expect(201);
      vi.useRealTimers();
    });
  });

  describe('CLIENT_REGISTRATION', () => {
    test('open: nobody vouches, unless there is an initial access token', async () => {
      const token = await createInitialAccessToken(clients.db, { uses: 1 });
      const { client_id } = await register();
      expect(await findClient(clients.db, client_id)).toMatchObject({ registeredBy: 'open', firstParty: false });
      const { body } = await request(clients.app()).post(door).set(bearer(token)).send(minimal).expect(201);
      expect(await findClient(clients.db, body.client_id)).toMatchObject({ registeredBy: 'token', firstParty: false });
    });

    test('token: an initial access token is needed, and good for as many uses as it has', async () => {
      const app = clients.app({ clientRegistration: 'token' });
      const token = await createInitialAccessToken(clients.db, { uses: 1 });

      const without = await request(app).post(door).send(minimal).expect(401);
      expect(without.headers['www-authenticate']).toBe('Bearer realm="clients"');
      expect(without.body.error).toBe('invalid_token');
      expect(without.body.error_description).toContain('initial access token is needed');

      const wrong = await request(app).post(door).set(bearer('wrong')).send(minimal).expect(401);
      expect(wrong.headers['www-authenticate']).toBe('Bearer realm="clients", error="invalid_token"');

      await request(app).post(door).set(bearer(token)).send({}).expect(400);
      const parallel = await Promise.all([1, 2, 3].map(() => request(app).post(door).set(bearer(token)).send(minimal)));
      expect(parallel.map(({ status }) => status).sort()).toEqual([201, 401, 401]);
    });

    test('token: a registration access token is none', async () => {
      const { registration_access_token } = await register();
      const app = clients.app({ clientRegistration: 'token' });
      await request(app).post(door).set(bearer(registration_access_token)).send(minimal).expect(401);
    });

    test('closed: not even with a token', async () => {
      const app = clients.app({ clientRegistration: 'closed' });
      const token = await createInitialAccessToken(clients.db);
      const { body } = await request(app).post(door).set(bearer(token)).send(minimal).expect(403);
      expect(body.error).toBe('registration_closed');
      // Clients that are there go on managing themselves.
      const { client_id, registration_access_token } = await register();
      await request(app).get(`${door}/${client_id}`).set(bearer(registration_access_token)).expect(200);
    });
  });

  describe('GET /:client_id', () => {
    test('shows the holder of its token everything but the secret', async () => {
      const { client_secret, client_secret_expires_at, ...registered } = {
        client_secret_expires_at: 0,
        ...(await register()),
      };
      const { body } = await request(clients.app())
        .get(`${door}/${registered.client_id}`)
        .set(bearer(registered.registration_access_token))
        .expect(200);
      expect(body).toEqual(registered);
    });

    test('shows what was registered at the other door, to be managed from here on', async () => {
      const other = door === '/clients' ? '/oidc/reg' : '/clients';
      const registered = await registerAt(other);
      expect(registered).toHaveProperty('registration_client_uri', `${origin}${other}/${registered.client_id}`);
      const { body } = await request(clients.app())
        .get(`${door}/${registered.client_id}`)
        .set(bearer(registered.registration_access_token))
        .expect(200);
      expect(body.registration_client_uri).toBe(`${origin}${door}/${registered.client_id}`);
    });

    test('refuses a wrong token', async () => {
      const [one, other] = [await register(), await register()];
      const wrong = await request(clients.app())
        .get(`${door}/${one.client_id}`)
        .set(bearer(other.registration_access_token))
        .expect(401);
      expect(wrong.headers['www-authenticate']).toContain('error="invalid_token"');
      expect(wrong.body).not.toHaveProperty('client_name');
    });
  });

  describe('PUT /:client_id', () => {
    test('replaces the metadata (RFC 7592 §2.2)', async () => {
      const { client_id, client_secret, registration_access_token } = await register({
        tos_uri: 'https://fernwood.example/tos',
      });
      const { status, body } = await request(clients.app())
        .put(`${door}/${client_id}`)
        .set(bearer(registration_access_token))
        .send({ client_id, ...minimal, client_name: 'Fernwood', logo_uri: 'https://fernwood.example/l.png' });
      expect(status).toBe(200);
      expect(body).toMatchObject({
        client_id,
        client_name: 'Fernwood',
        registration_access_token,
        registration_client_uri: `${origin}${door}/${client_id}`,
      });
      await request(clients.app()).get(`${door}/${client_id}`).set(bearer(registration_access_token)).expect(200);
      expect(body).not.toHaveProperty('tos_uri');
      expect(body).not.toHaveProperty('client_secret');
      expect(clients.logosAsked.at(-1)?.metadata.logo_uri).toBe('https://fernwood.example/l.png');
      expect(await isSecret(client_id, client_secret ?? '')).toBe(true);
    });

    test('shows a secret once when the client comes to need one', async () => {
      const { client_id, registration_access_token } = await register({ token_endpoint_auth_method: 'none' });
      const { body } = await request(clients.app())
        .put(`${door}/${client_id}`)
        .set(bearer(registration_access_token))
        .send({ client_id, ...minimal })
        .expect(200);
      expect(body.client_secret_expires_at).toBe(0);
      expect(await isSecret(client_id, body.client_secret)).toBe(true);
    });

    test.each([{}, { client_id: 'c_other', ...minimal }, []])('refuses %j', async (body) => {
      const { client_id, registration_access_token } = await register();
      const agent = request(clients.app()).put(`${door}/${client_id}`).set(bearer(registration_access_token));
      await agent.send(body).expect(400);
    });
  });

  describe('DELETE /:client_id', () => {
    test('answers 204, and then there is no such client', async () => {
      const { client_id, registration_access_token } = await register();
      const app = clients.app();
      await request(app).delete(`${door}/${client_id}`).set(bearer(registration_access_token)).expect(204, '');
      await request(app).get(`/clients/${client_id}`).expect(404);
      await request(app).get(`${door}/${client_id}`).set(bearer(registration_access_token)).expect(401);
      await request(app).delete(`${door}/${client_id}`).set(bearer(registration_access_token)).expect(401);
    });
  });

  describe('POST /:client_id/secret', () => {
    const renew = ({ client_id, registration_access_token }: Awaited<ReturnType<typeof register>>, body?: object) =>
      request(clients.app()).post(`${door}/${client_id}/secret`).set(bearer(registration_access_token)).send(body);

    test('shows a new secret, and the old one stops at once', async () => {
      const client = await register();
      const { status, body, headers } = await renew(client);
      expect(status).toBe(200);
      expect(headers['cache-control']).toBe('no-store');
      expect(body).toEqual({
        client_id: client.client_id,
        client_secret: expect.any(String),
        client_secret_expires_at: 0,
      });
      expect(await isSecret(client.client_id, body.client_secret)).toBe(true);
      expect(await isSecret(client.client_id, client.client_secret ?? '')).toBe(false);
    });

    test('leaves the old one as many seconds as asked for', async () => {
      const client = await register();
      const { body } = await renew(client, { grace_seconds: 60 });
      expect(await isSecret(client.client_id, body.client_secret)).toBe(true);
      expect(await isSecret(client.client_id, client.client_secret ?? '')).toBe(true);
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 60_000 });
      expect(await isSecret(client.client_id, client.client_secret ?? '')).toBe(false);
      vi.useRealTimers();
    });

    test.each([-1, 1.5, '60', null, 2_592_001, true])('refuses %j seconds', async (grace_seconds) => {
      const client = await register();
      const { status, body } = await renew(client, { grace_seconds });
      expect([status, body.error, body.issues[0].path]).toEqual([400, 'invalid_request', 'grace_seconds']);
      expect(await isSecret(client.client_id, client.client_secret ?? '')).toBe(true);
    });

    test('refuses a client that has none', async () => {
      const client = await register({ token_endpoint_auth_method: 'none' });
      const { status, body } = await renew(client);
      expect([status, body.error]).toEqual([400, 'invalid_request']);
    });
  });

  describe('without the registration access token', () => {
    const tries = [
      ['PUT', (id: string) => request(clients.app()).put(`${door}/${id}`)],
      ['DELETE', (id: string) => request(clients.app()).delete(`${door}/${id}`)],
      ['POST secret', (id: string) => request(clients.app()).post(`${door}/${id}/secret`)],
    ] as const;

    test.each(tries)('%s answers an unknown client and a wrong token alike', async (_name, ask) => {
      const [client, other] = [await register(), await register()];
      const answers = await Promise.all([
        ask(client.client_id).set(bearer(other.registration_access_token)),
        ask(client.client_id).set(bearer('wrong')),
        ask('c_unknown').set(bearer('wrong')),
        ask('c_%00').set(bearer('wrong')),
      ]);
      for (const { status, body, headers } of answers) {
        expect(status).toBe(401);
        expect(headers['www-authenticate']).toBe('Bearer realm="clients", error="invalid_token"');
        expect(body).toEqual(answers[0]?.body);
      }
      const none = await ask(client.client_id);
      expect([none.status, none.headers['www-authenticate']]).toEqual([401, 'Bearer realm="clients"']);
      expect(await findClient(clients.db, client.client_id)).toBeDefined();
    });

    test.each(['Basic abc', 'Bearer', 'Bearer ', 'bearer a b', 'Bearer "x"', 'Token x'])(
      'the header %s is as good as none',
      async (Authorization) => {
        const { client_id } = await register();
        const { status, headers } = await request(clients.app()).delete(`${door}/${client_id}`).set({ Authorization });
        expect([status, headers['www-authenticate']]).toEqual([401, 'Bearer realm="clients"']);
      },
    );

    test('guessing is held up after 60 tries a minute, while nobody who knows is counted', async () => {
      const { client_id, registration_access_token } = await register();
      const app = clients.app();
      const ask = (token: string) => request(app).get(`${door}/${client_id}`).set(bearer(token));
      for (let i = 0; i < 61; i++) await ask(registration_access_token).expect(200);
      for (let i = 0; i < 60; i++) await ask(`wrong${i}`).expect(401);
      await ask('wrong').expect(429);
    });
  });

  test('a client deleted while its update is under way is not brought back', async () => {
    const { client_id, registration_access_token } = await register();
    const app = clients.app({
      validate: async (metadata) => {
        await deleteClient(clients.db, client_id);
        return clients.validate(metadata);
      },
    });
    const agent = request(app).put(`${door}/${client_id}`).set(bearer(registration_access_token));
    await agent.send({ client_id, ...minimal }).expect(401);
    expect(await findClient(clients.db, client_id)).toBeUndefined();
  });

  test.each([
    ['GET', '', 'POST'],
    ['PUT', '', 'POST'],
    ['PATCH', '/c_x', 'GET, HEAD, PUT, DELETE'],
    ['POST', '/c_x', 'GET, HEAD, PUT, DELETE'],
    ['GET', '/c_x/secret', 'POST'],
  ])('%s %s is not a way to ask', async (method, path, allowed) => {
    const app = clients.app();
    const { status, headers } = await request(app)
      [method.toLowerCase() as 'patch'](door + path)
      .set(bearer('x'));
    expect([status, headers.allow]).toEqual([405, allowed]);
  });

  describe('CORS', () => {
    const listed = 'https://console.example';

    test('lets the origins of ALLOWED_ORIGINS in, without credentials', async () => {
      const app = clients.app({ allowedOrigins: [listed] });
      const preflight = await request(app)
        .options(door)
        .set({ Origin: listed, 'Access-Control-Request-Method': 'POST' })
        .expect(204);
      expect(preflight.headers).toMatchObject({
        'access-control-allow-origin': listed,
        'access-control-allow-methods': 'GET,POST,PUT,DELETE',
        'access-control-allow-headers': 'Authorization,Content-Type',
      });
      const answer = await request(app).post(door).set({ Origin: listed }).send({});
      expect(answer.status).toBe(400);
      expect(answer.headers['access-control-allow-origin']).toBe(listed);
      expect(answer.headers).not.toHaveProperty('access-control-allow-credentials');
      expect(answer.headers.vary).toContain('Origin');
    });

    test.each([[[]], [[listed]]])('lets nobody else in (%j)', async (allowedOrigins) => {
      const app = clients.app({ allowedOrigins });
      for (const origin of ['https://evil.example', 'null', `${listed}.evil.example`]) {
        const { headers } = await request(app).get(`${door}/c_x`).set({ Origin: origin });
        expect(headers).not.toHaveProperty('access-control-allow-origin');
      }
    });
  });
});

test('without a token the configuration endpoint of RFC 7592 says nothing, not even who is registered', async () => {
  const { client_id } = await registerAt('/oidc/reg');
  for (const id of [client_id, 'c_unknown']) {
    const { status, body, headers } = await request(clients.app()).get(`/oidc/reg/${id}`);
    expect([status, body.error, headers['www-authenticate']]).toEqual([401, 'invalid_token', 'Bearer realm="clients"']);
    expect(headers['cache-control']).toBe('no-store');
  }
});

test('tries at one door count at the other', async () => {
  await clients.db.delete(throttles);
  const app = clients.app({ rateLimit: rateLimits(clients.db) });
  for (let i = 0; i < 15; i++) await request(app).post('/clients').send({}).expect(400);
  for (let i = 0; i < 15; i++) await request(app).post('/oidc/reg').send({}).expect(400);
  await request(app).post('/clients').send(minimal).expect(429);
  await request(app).post('/oidc/reg').send(minimal).expect(429);
  const guess = (door: string) => request(app).delete(`${door}/c_unknown`).set(bearer('guess'));
  for (let i = 0; i < 60; i++) await guess(i % 2 ? '/clients' : '/oidc/reg').expect(401);
  await guess('/clients').expect(429);
  await guess('/oidc/reg').expect(429);
});

describe('GET /clients/:client_id without a token', () => {
  test('shows anyone the public facts and no more', async () => {
    const { client_id } = await registerAt('/clients', {
      client_uri: 'https://fernwood.example/',
      contacts: ['a@fernwood.example'],
    });
    const { status, body, headers } = await request(clients.app()).get(`/clients/${client_id}`);
    expect(status).toBe(200);
    expect(headers['cache-control']).toBe('no-store');
    expect(body).toEqual({ client_id, client_name: 'Fernwood Library', client_uri: 'https://fernwood.example/' });
  });

  test.each(['c_unknown', 'c_%00', '%F0%9F%98%80', 'x'.repeat(5000)])(
    'answers the unknown id %s with 404',
    async (id) => {
      const { status, body } = await request(clients.app()).get(`/clients/${id}`);
      expect([status, body.error]).toEqual([404, 'invalid_client']);
    },
  );
});
