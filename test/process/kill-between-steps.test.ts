/** Nothing that a flow needs lives in the process: it may be killed between any two steps and be another one after. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findPostmaster } from '../../src/db/embedded-postmaster.ts';
import { newDataFolder, removeDataFolder } from '../support/data-folder.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createPerson, type Page, readCheckboxes, readForm, readText } from '../support/person.ts';
import { discover, registerAccount, registerClient } from '../support/relying-party.ts';
import { type ServerProcess, sharedSecrets, startServer } from '../support/server.ts';

let database: TestDatabase;
let folder: string;

beforeAll(async () => {
  [database, folder] = await Promise.all([createTestDatabase(), newDataFolder()]);
});
afterAll(async () => {
  await database.drop();
  await removeDataFolder(folder);
});

test('the server is killed between every two steps of a flow, and the flow goes on', { timeout: 120_000 }, async () => {
  let kills = 0;
  await runFlow({ DATABASE_URL: database.url, ...sharedSecrets }, async (server) => {
    await server.kill9();
    kills += 1;
  });
  expect(kills).toBe(13);
});

test('the next server adopts the embedded database, or starts it again', { timeout: 60_000 }, async () => {
  const databases = new Set<number | undefined>();
  await runFlow({ DATA_DIR: folder }, async (server, step) => {
    if (!['sign-in', 'consent', 'code'].includes(step)) return;
    const postmaster = await findPostmaster({ folder: join(folder, 'postgres') });
    databases.add(postmaster?.pid);
    await server.kill9();
    if (step === 'code') process.kill(postmaster?.pid ?? 0, 'SIGKILL');
  });
  databases.add((await findPostmaster({ folder: join(folder, 'postgres') }))?.pid);
  expect(databases.size, 'one through all kills, and none once the last server has stopped').toBe(2);
});

/** Runs the whole flow; a server that `between` killed after a step is started again before the next. */
async function runFlow(
  env: Record<string, string>,
  between: (server: ServerProcess, step: string) => Promise<void>,
): Promise<void> {
  let server: ServerProcess = await startServer({ env });
  const after = async (step: string): Promise<void> => {
    await between(server, step);
    if (!server.isAlive()) server = await startServer({ env, port: server.port });
  };

  const registration = await registerClient(server, { post_logout_redirect_uris: [`${server.origin}/callback`] });
  const account = await registerAccount(server);
  const rp = await discover(server, registration);
  const person = createPerson(server.origin);
  /** One request, no redirect followed: where it leads. */
  const locate = async (url: string, init: RequestInit = {}): Promise<URL> => {
    const response = await person.request(url, init);
    expect([response.status, await response.text()], url).toEqual([303, expect.anything()]);
    return new URL(response.headers.get('location') ?? '', server.origin);
  };
  const show = async (url: URL): Promise<Page> => {
    const page = await person.open(url.href);
    expect(page.status, readText(page.html)).toBe(200);
    return page;
  };
  const submit = (page: Page, form: string, fields: [string, string][]): Promise<URL> => {
    const { action, hidden } = readForm(page.html, form);
    return locate(new URL(action, page.url).href, {
      method: 'POST',
      body: new URLSearchParams([...hidden, ...fields]),
      headers: { origin: server.origin, 'sec-fetch-site': 'same-origin' },
    });
  };

  const request = await rp.start({ scope: 'openid email offline_access', prompt: 'consent' });
  const toSignIn = await locate(request.url);
  await after('request');
  const signInPage = await show(toSignIn);
  await after('sign-in page');
  const toResume = await submit(signInPage, 'login', [
    ['email', account.email],
    ['password', account.password],
  ]);
  await after('sign-in');
  const toConsent = await locate(toResume.href);
  await after('resume');
  const consentPage = await show(toConsent);
  await after('consent page');
  const scopes = Object.keys(readCheckboxes(consentPage.html, 'scope'));
  const allowed = scopes.map((scope): [string, string] => ['scope', scope]);
  const toCode = await submit(consentPage, 'consent', [...allowed, ['decision', 'allow']]);
  await after('consent');
  const callback = await locate(toCode.href);
  await after('code');
  const tokens = await request.finish(callback);
  await after('token');
  expect(await rp.userinfo(tokens.access_token, account.sub)).toMatchObject({ email: account.email });
  await after('userinfo');
  const refreshed = await rp.refresh(tokens.refresh_token ?? '');
  await after('refresh');
  expect(await rp.introspect(refreshed.access_token)).toMatchObject({ active: true, sub: account.sub });
  await after('introspection');

  const end = new URL(`${server.issuer}/session/end`);
  end.search = new URLSearchParams({
    id_token_hint: tokens.id_token ?? '',
    post_logout_redirect_uri: `${server.origin}/callback`,
  }).toString();
  const logoutPage = await show(end);
  await after('sign-out page');
  const left = await submit(logoutPage, 'logout', [['logout', 'yes']]);
  expect(left.pathname).toBe('/callback');
  await after('sign-out');
  expect((await person.request('/account')).status, 'signed out').toBe(303);
  expect(await server.stop()).toEqual({ code: 0, signal: null });
}
