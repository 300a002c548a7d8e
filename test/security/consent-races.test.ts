/** Several tabs of one browser answer at once: what was said in one is not undone by the other. */
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Person } from '../support/person.ts';
import {
  allow,
  discover,
  type RelyingParty,
  registerAccount,
  registerClient,
  signIn,
} from '../support/relying-party.ts';

const times = 20;

let app: TestApp;
let ada: Awaited<ReturnType<typeof registerAccount>>;
let fernwood: RelyingParty;
let kestrel: RelyingParty;
let person: Person;

beforeAll(async () => {
  app = await startApp();
  fernwood = await discover(app, await registerClient(app));
  kestrel = await discover(app, await registerClient(app, { client_name: 'Kestrel Cycling' }));
  ada = await registerAccount(app);
  person = createPerson(app.origin);
  await signIn(person, await person.open('/auth/login'), ada);
});
afterAll(() => app.close());

/** Opens one tab for each request, allows all of them at once, and gives the tokens that come of it. */
async function allowAtOnce(asked: { rp: RelyingParty; parameters: Record<string, string> }[]) {
  const tabs = await Promise.all(
    asked.map(async ({ rp, parameters }) => {
      const request = await rp.start(parameters);
      return { request, page: await person.open(request.url) };
    }),
  );
  const answers = await Promise.all(
    tabs.map(async ({ page, request }) => ({ request, page: await allow(person, page) })),
  );
  return Promise.all(answers.map(({ request, page }) => request.finish(page.left as URL)));
}

test(`two tabs consenting at once both get what was allowed, ${times} times`, { timeout: 60_000 }, async () => {
  for (let round = 0; round < times; round += 1) {
    const parties = round % 2 ? [fernwood, kestrel] : [fernwood, fernwood];
    const tokens = await allowAtOnce(parties.map((rp) => ({ rp, parameters: { prompt: 'consent' } })));
    for (const [index, { access_token, scope }] of tokens.entries()) {
      expect(scope).toBe('openid profile email');
      const userinfo = await parties[index]?.userinfo(access_token, ada.sub);
      expect(userinfo).toMatchObject({ sub: ada.sub, email: ada.email });
    }
    const again = await person.open((await fernwood.start({ prompt: 'none' })).url);
    expect(again.left?.searchParams.get('error')).toBeNull();
  }
});

test(`two tabs that ask for different things at once both get them, ${times} times`, { timeout: 60_000 }, async () => {
  for (let round = 0; round < times; round += 1) {
    await app.database.db.execute(sql`delete from consents`);
    await app.database.db.execute(sql`delete from oidc_grants`);
    const scopes = ['openid email', 'openid profile'];
    const tokens = await allowAtOnce(scopes.map((scope) => ({ rp: fernwood, parameters: { scope } })));
    expect(tokens.map(({ scope }) => scope)).toEqual(scopes);
    const { rows } = await app.database.db.execute(sql`select granted_scopes from consents`);
    expect(rows).toEqual([{ granted_scopes: expect.arrayContaining(['openid', 'email', 'profile']) }]);
  }
});
