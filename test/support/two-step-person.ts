/** A person's authenticator app, set up through the pages. */
import { eq } from 'drizzle-orm';
import { Secret, TOTP } from 'otpauth';
import { totpSecrets } from '../../src/db/schema.ts';
import type { TestApp } from './app.ts';
import { createPerson, type Page, type Person } from './person.ts';
import { registerAccount, signIn } from './relying-party.ts';

export type Account = Awaited<ReturnType<typeof registerAccount>>;

export type TwoStepPerson = {
  account: Account;
  /** The browser in which it was set up, signed in. */
  person: Person;
  recoveryCodes: string[];
  /** What the app shows so many steps from now. */
  shown(steps?: number): string;
  /** The app's code so many steps from now; no step counts as used any more, as if time had passed. */
  code(steps?: number): Promise<string>;
};

/** What an app that took the page's picture shows. */
export function authenticatorOf(html: string): (steps?: number) => string {
  const key = /id="totp-key">([^<]+)</.exec(html)?.[1];
  if (!key) throw new Error(`no key on this page: ${html.slice(0, 500)}`);
  const totp = new TOTP({ secret: Secret.fromBase32(key.replaceAll(' ', '')) });
  return (steps = 0) => totp.generate({ timestamp: Date.now() + steps * 30_000 });
}

export function recoveryCodesOf(html: string): string[] {
  return [...html.matchAll(/<li><code>([^<]+)<\/code>/g)].map(([, code = '']) => code);
}

/** Turns two-step sign-in on for a signed-in person. */
export async function setUpTwoStep(app: TestApp, person: Person, account: Account): Promise<TwoStepPerson> {
  const page = await person.open('/account/two-step/set-up');
  const generate = authenticatorOf(page.html);
  const codes = await person.submit(page, 'totp-set-up', { code: generate() });
  const recoveryCodes = recoveryCodesOf(codes.html);
  if (recoveryCodes.length !== 10) throw new Error(`not set up: ${codes.status} ${codes.html.slice(0, 800)}`);
  return {
    account,
    person,
    recoveryCodes,
    shown: generate,
    async code(steps = 0) {
      await letStepsPass(app, account);
      return generate(steps);
    },
  };
}

/** A new account with two-step sign-in, signed in. */
export async function twoStepPerson(app: TestApp): Promise<TwoStepPerson> {
  const account = await registerAccount(app);
  const person = createPerson(app.origin);
  await signIn(person, await person.open('/auth/login'), account);
  return setUpTwoStep(app, person, account);
}

/** No step of the account, or of any, counts as used any more. */
export async function letStepsPass(app: Pick<TestApp, 'database'>, account?: Pick<Account, 'sub'>): Promise<void> {
  const whose = account && eq(totpSecrets.accountId, account.sub);
  await app.database.db.update(totpSecrets).set({ lastStep: 0 }).where(whose);
}

/** The page after the right password, in a browser that knows nothing of the account. */
export async function atSecondStep(
  app: TestApp,
  account: Account,
  person = createPerson(app.origin),
): Promise<{ person: Person; page: Page }> {
  return { person, page: await signIn(person, await person.open('/auth/login'), account) };
}

export async function isSignedIn(person: Person): Promise<boolean> {
  const response = await person.request('/account');
  await response.body?.cancel();
  return response.status === 200;
}
