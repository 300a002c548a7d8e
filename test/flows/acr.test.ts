/** `acr` says how somebody signed in; what cannot be had is refused when it is essential (OIDC Core §5.5.1.1, RFC 9470). */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { authorizationUrl, issueTokens, type SignedIn, signedInPerson } from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson } from '../support/person.ts';
import { allow, discover, type Registration, registerClient, signInThrough } from '../support/relying-party.ts';

const password = 'urn:latchkey:acr:pwd';
const multiFactor = 'urn:latchkey:acr:mfa';

let app: TestApp;
let client: Registration;
let signedIn: SignedIn;

beforeAll(async () => {
  app = await startApp();
  client = await registerClient(app);
  signedIn = await signedInPerson(app);
  await issueTokens(app, client, signedIn, {});
});
afterAll(() => app.close());

const essential = (acr: object) => JSON.stringify({ id_token: { acr: { essential: true, ...acr } } });

async function ask(changes: Record<string, string>): Promise<URLSearchParams> {
  let page = await signedIn.person.open(authorizationUrl(app, client, changes));
  if (page.html.includes('id="consent"')) page = await allow(signedIn.person, page);
  if (!page.left) throw new Error(`ended on a page: ${page.html.slice(0, 500)}`);
  return page.left.searchParams;
}

test('discovery names what can be had: a password, and two factors', async () => {
  const discovery = await fetch(`${app.issuer}/.well-known/openid-configuration`);
  expect(await discovery.json()).toMatchObject({ acr_values_supported: [password, multiFactor] });
});

test('every ID token says it, after pages and after a sign-in before the request', async () => {
  const direct = await issueTokens(app, client, signedIn, {});
  expect(decodeJwt(direct.id_token)).toMatchObject({ acr: password, amr: ['pwd'] });
  const rp = await discover(app, await registerClient(app));
  const { tokens } = await signInThrough(app, rp, signedIn.account, { person: createPerson(app.origin) });
  expect(tokens.claims()).toMatchObject({ acr: password, amr: ['pwd'] });
});

test('a wish that cannot be met is ignored, one that can is met', async () => {
  for (const acr_values of [multiFactor, `phr ${password}`]) {
    const { id_token } = await issueTokens(app, client, signedIn, { acr_values });
    expect(decodeJwt(id_token).acr).toBe(password);
  }
});

test('what is essential and can be met is met, in either spelling', async () => {
  for (const acr of [{ value: password }, { values: ['phr', password] }]) {
    expect((await ask({ claims: essential(acr) })).get('code')).toBeTruthy();
  }
});

test('what is essential and cannot be met is refused, not asked for over and over', async () => {
  for (const acr of [{ value: 'phr' }, { values: ['phr', 'hwk'] }]) {
    for (const prompt of ['none', 'login']) {
      const answer = await ask({ claims: essential(acr), prompt });
      expect([answer.get('error'), answer.get('code')]).toEqual(['unmet_authentication_requirements', null]);
    }
  }
});

test('a client’s default_acr_values are some of those', async () => {
  await registerClient(app, { default_acr_values: [password] });
  await expect(registerClient(app, { default_acr_values: ['phr'] })).rejects.toThrow(/default_acr_values/);
});
