/**
 * The steps of a sign-in, of a reset and of an expired password in every order, against a model of a few lines: whatever
 * comes too early, too late or twice advances nothing (SECURITY 53, 54).
 */
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { users } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { readLink } from '../support/mailbox.ts';
import { createStranger, type Person, postJson } from '../support/person.ts';
import { password } from '../support/relying-party.ts';
import { setUpTwoStep } from '../support/two-step-person.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
});
afterAll(() => app.close());

const newPassword = 'kestrel over tidewater';

const browser = () => createStranger(app);

/** A new account with two-step sign-in, and a browser that knows nothing of it. */
async function newWorld() {
  const account = { email: `${crypto.randomUUID()}@moreno.example`, password };
  const home = browser();
  const registered = await postJson(home, '/auth/register', { ...account, name: 'Ada' });
  const { sub } = (await registered.json()) as { sub: string };
  const logIn = (person: Person, password: string) =>
    postJson(person, '/auth/login', { email: account.email, password });
  const { recoveryCodes } = await setUpTwoStep(app, home, { ...account, sub, name: 'Ada' });
  const person = browser();
  return {
    account,
    sub,
    logIn: (password: string) => logIn(person, password),
    enterCode: () => postJson(person, '/auth/second-factor', { code: recoveryCodes.pop() ?? '' }),
    changePassword: (password: string) => postJson(person, '/auth/change-password', { password }),
    /** In another browser, as mails are read. */
    reset: (token: string | null) => postJson(browser(), '/auth/reset-password', { token, password: newPassword }),
    async resetToken() {
      expect((await postJson(browser(), '/auth/forgot-password', { email: account.email })).status).toBe(202);
      return new URL(await readLink(app, account.email, 'reset-password')).searchParams.get('token');
    },
    isSignedIn: async () => (await person.request('/account')).status === 200,
  };
}

type World = Awaited<ReturnType<typeof newWorld>>;
type Step<Name extends string> = Record<Name, { act(world: World): Promise<Response>; expect(): number }>;

/** Takes the steps in that order; after each the answer and whether somebody is signed in must be the model's. */
async function follow<Name extends string>(
  order: readonly Name[],
  world: World,
  steps: Step<Name>,
  signedIn: () => boolean,
): Promise<void> {
  for (const [index, name] of order.entries()) {
    const { status } = await steps[name].act(world);
    const found = { status, signedIn: await world.isSignedIn() };
    const taken = order.slice(0, index + 1).join(', ');
    expect({ taken, ...found }).toEqual({ taken, status: steps[name].expect(), signedIn: signedIn() });
  }
}

function permutations<T>(all: readonly T[]): T[][] {
  if (all.length < 2) return [[...all]];
  return all.flatMap((first, index) =>
    permutations(all.filter((_, at) => at !== index)).map((rest) => [first, ...rest]),
  );
}

/** Some at a time: the machine has few cores. */
async function each<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  for (let index = 0; index < all.length; index += 6) await Promise.all(all.slice(index, index + 6).map(work));
}

test('old password, new password, code and reset in all 24 orders, with a code at the end', {
  timeout: 90_000,
}, async () => {
  type Name = 'old' | 'new' | 'code' | 'reset';
  await each(permutations<Name>(['old', 'new', 'code', 'reset']), async (order) => {
    const world = await newWorld();
    const token = await world.resetToken();
    const model = { password: 'old', shown: undefined as string | undefined, signedIn: false };
    const first = (password: 'old' | 'new') => {
      // A wrong one leaves what was shown before as it was; a right one is half of a sign-in.
      if (model.password === password) model.shown = password;
      return 401;
    };
    const steps: Step<Name> = {
      old: { act: (at) => at.logIn(world.account.password), expect: () => first('old') },
      new: { act: (at) => at.logIn(newPassword), expect: () => first('new') },
      code: {
        act: (at) => at.enterCode(),
        expect() {
          if (model.shown === undefined || model.shown !== model.password) return 401;
          Object.assign(model, { shown: undefined, signedIn: true });
          return 200;
        },
      },
      reset: {
        act: (at) => at.reset(token),
        expect() {
          Object.assign(model, { password: 'new', signedIn: false });
          return 204;
        },
      },
    };
    await follow([...order, 'code'], world, steps, () => model.signedIn);
    expect((await world.reset(token)).status, 'the link is used up').toBe(400);
  });
});

test('password, code and another password for an expired one, in all 27 sequences', { timeout: 90_000 }, async () => {
  type Name = 'password' | 'code' | 'change';
  const names: Name[] = ['password', 'code', 'change'];
  const sequences = names.flatMap((a) => names.flatMap((b) => names.map((c): Name[] => [a, b, c])));
  await each(sequences, async (order) => {
    const world = await newWorld();
    const { db } = app.database;
    await db.update(users).set({ passwordExpiredAt: new Date() }).where(eq(users.id, world.sub));
    const model = { shown: 0, signedIn: false };
    const steps: Step<Name> = {
      password: {
        act: (at) => at.logIn(world.account.password),
        expect() {
          model.shown = 1;
          return 401;
        },
      },
      code: {
        act: (at) => at.enterCode(),
        expect() {
          if (model.shown >= 1) model.shown = 2;
          return 401;
        },
      },
      change: {
        act: (at) => at.changePassword(newPassword),
        expect() {
          // Never before the second factor: a password that somebody else knows must not be enough to choose another.
          if (model.shown < 2) return 401;
          Object.assign(model, { shown: 0, signedIn: true });
          return 200;
        },
      },
    };
    await follow(order, world, steps, () => model.signedIn);
    const again = (await (await world.logIn(world.account.password)).json()) as { error: string };
    expect(again.error).toBe(model.signedIn ? 'invalid_credentials' : 'second_factor_required');
  });
});
