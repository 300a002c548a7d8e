/**
 * Nothing that was ever a credential on the wire is found in any table, any log line or any error (SECURITY 57). All
 * that passes between the parties of some whole flows is listened to, and then looked for.
 */
import { sql } from 'drizzle-orm';
import * as client from 'openid-client';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createInitialAccessToken } from '../../src/clients/initial-access-tokens.ts';
import { sha256 } from '../../src/lib/hash.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { enterCode, pollOnce, registerDevice, startDevice } from '../support/device.ts';
import { createPerson } from '../support/person.ts';
import { allow, discover, registerAccount, registerClient, signIn, signInThrough } from '../support/relying-party.ts';

let app: TestApp;
/** Credentials by where they were seen. */
const seen = new Map<string, Set<string>>();
/** What was answered with a 4xx. */
const refusals: string[] = [];

function note(kind: string, value: string | null | undefined): void {
  if (value && value.length >= 8) seen.set(kind, (seen.get(kind) ?? new Set()).add(value));
}

const secretFields = [
  ...['password', 'code', 'code_verifier', 'client_secret', 'access_token', 'refresh_token', 'id_token', 'token'],
  ...['id_token_hint', 'registration_access_token', 'request_uri', 'subject_token', 'client_assertion'],
  'device_code',
];

function noteFields(fields: Iterable<[string, unknown]>): void {
  for (const [name, value] of fields) if (secretFields.includes(name) && typeof value === 'string') note(name, value);
}

async function listen(input: string | URL | Request, init: RequestInit | undefined, response: Response): Promise<void> {
  noteFields(new URL(input instanceof Request ? input.url : input).searchParams);
  const { body } = init ?? {};
  if (body instanceof URLSearchParams) noteFields(body);
  if (typeof body === 'string')
    noteFields(body.startsWith('{') ? Object.entries(JSON.parse(body)) : new URLSearchParams(body));
  const [, scheme, credential = ''] = /^(\w+) (.+)$/.exec(new Headers(init?.headers).get('authorization') ?? '') ?? [];
  if (scheme?.toLowerCase() === 'bearer') note('bearer token', credential);
  if (scheme?.toLowerCase() === 'basic')
    note('basic secret', Buffer.from(credential, 'base64').toString().split(':')[1]);
  for (const line of response.headers.getSetCookie()) {
    const value = line.split(';')[0]?.replace(/^[^=]+=/, '') ?? '';
    for (const part of value.split(/[~.]/)) note(`cookie ${line.split('=')[0]}`, part);
  }
  const location = response.headers.get('location');
  if (location) noteFields(new URL(location, app.origin).searchParams);
  const text = await response.clone().text();
  if (text.startsWith('{')) noteFields(Object.entries(JSON.parse(text)));
  for (const [, hidden] of text.matchAll(/name="code" value="([^"]+)"/g)) note('code', hidden);
  if (response.status >= 400) refusals.push(text);
}

beforeAll(async () => {
  app = await startApp({ env: { REFRESH_TOKEN_LEEWAY: '0' } });
  const { fetch } = globalThis;
  vi.stubGlobal('fetch', async (input: string | URL | Request, init?: RequestInit) => {
    const response = await fetch(input, init);
    await listen(input, init, response);
    return response;
  });
  await everyFlow();
});
afterAll(async () => {
  vi.unstubAllGlobals();
  await app.close();
});

async function everyFlow(): Promise<void> {
  const registration = await registerClient(app);
  const rp = await discover(app, registration);
  const ada = await registerAccount(app);
  const offline = { scope: 'openid profile offline_access', prompt: 'consent' };
  const { person, tokens, callback } = await signInThrough(app, rp, ada, { parameters: offline });
  await rp.userinfo(tokens.access_token, ada.sub);
  await rp.introspect(tokens.access_token);
  const refreshed = await rp.refresh(tokens.refresh_token as string);
  await rp.refresh(tokens.refresh_token as string).catch(() => {});
  await rp.revoke(refreshed.refresh_token as string);
  // Used up, wrong, missing: what goes wrong must not tell either.
  await client.authorizationCodeGrant(rp.config, callback, { expectedState: client.skipStateCheck }).catch(() => {});
  await postForm('/oidc/token', { grant_type: 'refresh_token', refresh_token: 'made-up-token', ...registration });
  await postForm('/oidc/token', { ...registration, grant_type: 'client_credentials', client_secret: 'a-wrong-secret' });
  await person.open('/auth/login', { method: 'POST', body: new URLSearchParams({ ...ada, password: 'a wrong one' }) });
  await postForm('/auth/login', { email: ada.email, password: 'another wrong one' });
  await postForm('/auth/register', { ...ada, password: 'yet another one' });

  // An answer by form, a pushed request, hints, an interaction left open, one refused, one that is lost.
  await person.open((await rp.start({ response_mode: 'form_post' })).url);
  await client.buildAuthorizationUrlWithPAR(rp.config, new URL((await rp.start()).url).searchParams);
  const hinted = await rp.start({ prompt: 'login', id_token_hint: tokens.id_token as string });
  const asked = await person.open(hinted.url);
  await createPerson(app.origin).open(asked.url);
  const hintedConsent = await signIn(person, asked, ada);
  expect((await allow(person, hintedConsent)).left?.searchParams.get('code')).toBeTruthy();
  const pushed = await client.buildAuthorizationUrlWithPAR(
    rp.config,
    new URL((await rp.start(offline)).url).searchParams,
  );
  await person.open(pushed.href);
  const consent = await person.open((await rp.start(offline)).url);
  await person.submit(consent, 'consent', {}, 'consent-deny');

  const own = { authorization: `Bearer ${registration.registration_access_token}`, 'content-type': 'application/json' };
  const address = `${app.origin}/clients/${registration.client_id}`;
  await fetch(address, { headers: own });
  await fetch(`${address}/secret`, { method: 'POST', headers: own, body: '{"grace_seconds":60}' });
  await fetch(address, { headers: { authorization: 'Bearer made-up-registration-token' } });
  const initial = await createInitialAccessToken(app.database.db, { uses: 2 });
  await fetch(`${app.origin}/clients`, {
    method: 'POST',
    headers: { ...own, authorization: `Bearer ${initial}` },
    body: JSON.stringify({ redirect_uris: ['https://a.example/'], grant_types: ['authorization_code'] }),
  });

  // A device, allowed, and one that says with a token for whom it asks.
  const tv = await registerDevice(app);
  const device = await startDevice(app, tv, { scope: 'openid offline_access' });
  await pollOnce(app, tv, device);
  const confirm = await enterCode(person, device.user_code);
  await allow(person, await person.submit(confirm, 'device-confirm', {}, 'device-approve'));
  const { id_token, refresh_token } = await pollOnce(app, tv, device);
  expect(refresh_token).toBeTruthy();
  await enterCode(person, (await startDevice(app, tv, { id_token_hint: String(id_token) })).user_code);

  // The playground, which keeps what a relying party would keep.
  const start = await person.open('/playground');
  const run = await person.open('/playground/runs', { method: 'POST', body: new URLSearchParams() });
  expect([start.status, run.html]).toEqual([200, expect.stringContaining('id="consent"')]);
  await allow(person, run);
  const machine = await registerClient(app, { grant_types: ['client_credentials'], redirect_uris: undefined });
  await client.clientCredentialsGrant((await discover(app, machine)).config);
  await person.submit(await person.open('/oidc/session/end'), 'logout', {}, 'logout-confirm');
  await signIn(person, await person.open('/auth/login'), ada);
}

async function postForm(path: string, fields: Record<string, string>): Promise<void> {
  await fetch(app.origin + path, { method: 'POST', body: new URLSearchParams(fields), redirect: 'manual' });
}

function credentials(): [string, string][] {
  return [...seen].flatMap(([kind, values]) => [...values].map((value): [string, string] => [kind, value]));
}

/** Kinds of credentials that occur in a text, as they are or in another spelling. */
function found(text: string): string[] {
  const spellings = (value: string) => [
    value,
    Buffer.from(value).toString('hex'),
    Buffer.from(value).toString('base64url'),
  ];
  return credentials().flatMap(([kind, value]) => (spellings(value).some((form) => text.includes(form)) ? [kind] : []));
}

async function everyRow(): Promise<string> {
  const { rows: tables } = await app.database.db.execute<{ name: string }>(sql`
    select quote_ident(table_schema) || '.' || quote_ident(table_name) as name from information_schema.tables
    where table_schema not in ('pg_catalog', 'information_schema') and table_type = 'BASE TABLE'`);
  const dumps = await Promise.all(
    tables.map(({ name }) =>
      app.database.db.execute(sql.raw(`select jsonb_agg(each)::text as rows from ${name} each`)),
    ),
  );
  return JSON.stringify(dumps.map(({ rows }) => rows)).replaceAll('\\', '');
}

test('the flows were listened to', () => {
  expect([...seen.keys()]).toEqual(
    expect.arrayContaining([
      ...['password', 'code', 'code_verifier', 'client_secret', 'access_token', 'refresh_token', 'id_token', 'token'],
      ...['id_token_hint', 'registration_access_token', 'request_uri', 'bearer token', 'basic secret'],
      ...['cookie latchkey_session', 'cookie latchkey_session.sig', 'cookie latchkey_interaction'],
      ...['cookie latchkey_resume', 'cookie latchkey-device', 'cookie latchkey_playground'],
    ]),
  );
  expect(credentials().length).toBeGreaterThan(60);
  expect(refusals.length).toBeGreaterThan(5);
});

test('no table holds any of it: a reader of the database could replay nothing (SECURITY 57)', async () => {
  const rows = await everyRow();
  // What leads to a session is there, in the form that leads nowhere.
  for (const id of seen.get('cookie latchkey_session') ?? [])
    expect([id, rows.includes(sha256(id))]).toEqual([id, true]);
  expect(found(rows)).toEqual([]);
});

test('neither do the tables hold a private key, or a password or secret in anything but bcrypt', async () => {
  const rows = await everyRow();
  expect(/"(d|p|q|dp|dq|qi)":|PRIVATE KEY/.exec(rows)?.[0]).toBeUndefined();
  const { rows: hashes } = await app.database.db.execute<{ hash: string }>(sql`
    select password_hash as hash from users union all
    select unnest(array_remove(array[secret_hash, previous_secret_hash], null)) from oidc_clients`);
  expect(hashes.length).toBeGreaterThan(3);
  for (const { hash } of hashes) expect(hash).toMatch(/(^|\$)\$?2b\$\d\d\$[./A-Za-z0-9]{53}$/);
});

test('no log line holds any of it, nor any e-mail address', () => {
  const lines = JSON.stringify(app.log);
  expect(app.log.filter(({ msg }) => msg === 'request').length).toBeGreaterThan(50);
  expect(found(lines)).toEqual([]);
  expect(lines.includes('moreno.example')).toBe(false);
});

test('no refusal holds any of it', () => {
  for (const text of refusals) expect(found(text)).toEqual([]);
});
