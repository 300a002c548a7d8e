/** A pushed request (RFC 9126) is used once, by its client, in its time, and on whichever instance. */
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson } from '../support/person.ts';
import { allow, type Registration, registerClient } from '../support/relying-party.ts';
import { advance, authorizationUrl, basic, issueTokens, post, type SignedIn, signedInPerson } from './protocol.ts';

let app: TestApp;
let twin: TestApp;
let client: Registration;
let signedIn: SignedIn;

beforeAll(async () => {
  app = await startApp();
  twin = await startApp({ database: { url: app.databaseUrl }, env: { OIDC_ISSUER: app.origin } });
  client = await registerClient(app, { require_pushed_authorization_requests: true });
  signedIn = await signedInPerson(app);
  await signedIn.person.open(await pushedUrl(client));
  const plain = await registerClient(app);
  await issueTokens(app, plain, signedIn, {});
});
afterAll(async () => {
  await twin.close();
  await app.close();
});
afterEach(() => {
  vi.useRealTimers();
});

function push(by: Registration, changes: Record<string, string> = {}, server = app) {
  const parameters = Object.fromEntries(new URL(authorizationUrl(app, by)).searchParams);
  const address = { issuer: `http://127.0.0.1:${server.port}/oidc` };
  return post(address, 'request', { ...parameters, ...changes }, by);
}

async function pushedUrl(by: Registration, server = app): Promise<string> {
  const { status, body } = await push(by, {}, server);
  expect(status, JSON.stringify(body)).toBe(201);
  const reference = { client_id: by.client_id, request_uri: String(body.request_uri) };
  return `${app.issuer}/auth?${new URLSearchParams(reference)}`;
}

/** The error that the application of the signed-in person is told. */
async function refusal(url: string): Promise<string | null | undefined> {
  const { left } = await signedIn.person.open(url);
  expect(left?.searchParams.has('code')).toBe(false);
  return left?.searchParams.get('error');
}

async function consented(): Promise<Registration> {
  const by = await registerClient(app);
  await issueTokens(app, by, signedIn, {});
  return by;
}

test('of eight parallel uses at two instances one gets a code', async () => {
  const by = await consented();
  const url = await pushedUrl(by, twin);
  const use = async (_: unknown, turn: number) => {
    const target = new URL(url);
    if (turn % 2) target.port = String(twin.port);
    const response = await signedIn.person.request(target.href, { headers: { host: new URL(app.origin).host } });
    return new URL(response.headers.get('location') ?? 'http://page.invalid').searchParams;
  };
  const answers = await Promise.all(Array.from({ length: 8 }, use));
  expect(answers.filter((answer) => answer.has('code'))).toHaveLength(1);
  for (const answer of answers.filter((each) => each.has('error')))
    expect(answer.get('error')).toBe('invalid_request_uri');
});

test('it may be opened again until it is answered, and not after', async () => {
  const by = await registerClient(app);
  const url = await pushedUrl(by);
  for (const _ of [1, 2]) expect((await createPerson(app.origin).open(url)).html).toContain('id="login"');
  const person = signedIn.person;

  const page = await allow(person, await person.open(url));
  expect(page.left?.searchParams.get('code')).toBeTruthy();
  expect(await refusal(url)).toBe('invalid_request_uri');
});

test('it expires after a minute', async () => {
  const by = await consented();
  const url = await pushedUrl(by);
  advance(61);
  expect(await refusal(url)).toBe('invalid_request_uri');
});

test('it is worth nothing to another client, and stays good for its own', async () => {
  const [by, other] = [await consented(), await consented()];
  const url = await pushedUrl(by);
  expect(await refusal(url.replace(by.client_id, other.client_id))).toBe('invalid_request_object');
  expect((await signedIn.person.open(url)).left?.searchParams.get('code')).toBeTruthy();
});

test('one that was never pushed is refused like one that is gone', async () => {
  const by = await consented();
  const url = new URL(await pushedUrl(by));
  for (const request_uri of ['urn:ietf:params:oauth:request_uri:made-up', 'urn:ietf:params:oauth:request_uri:']) {
    url.searchParams.set('request_uri', request_uri);
    expect(await refusal(url.href)).toBe('invalid_request_uri');
  }
});

test('pushing takes the client’s own authentication', async () => {
  const { client_id } = client;
  const parameters = Object.fromEntries(new URL(authorizationUrl(app, client)).searchParams);
  expect((await post(app, 'request', parameters)).body.error).toBe('invalid_client');
  const wrong = basic({ client_id, client_secret: 'wrong' });
  expect((await post(app, 'request', parameters, undefined, wrong)).body.error).toBe('invalid_client');
});

test('a request that is not in order is refused when it is pushed', async () => {
  const wrong: [Record<string, string>, string][] = [
    [{ redirect_uri: 'https://evil.example/' }, 'invalid_request'],
    [{ response_type: 'token' }, 'unsupported_response_type'],
    [{ scope: 'unknown' }, 'invalid_scope'],
    [{ code_challenge_method: 'plain' }, 'invalid_request'],
    [{ request_uri: 'https://evil.example/request' }, 'request_uri_not_supported'],
    [{ request: 'not.a.jwt' }, 'invalid_request_object'],
  ];
  for (const [changes, error] of wrong)
    expect([changes, (await push(client, changes)).body.error]).toEqual([changes, error]);
});

test('a client that must push is refused otherwise, on a page', async () => {
  const page = await createPerson(app.origin).open(authorizationUrl(app, client));
  expect([page.status, page.left]).toEqual([400, undefined]);
});
