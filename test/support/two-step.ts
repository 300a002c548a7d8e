/** Two-step sign-in for tests of other things: turned on by JSON and pages, with codes at hand. */
import { totpSecrets } from '../../src/db/schema.ts';
import type { TestApp } from './app.ts';
import type { Person } from './person.ts';
import { authenticatorOf, recoveryCodesOf } from './two-step-person.ts';

export type TwoStep = {
  /** What the app shows so many steps from now. */
  code(steps?: number): string;
  recoveryCodes: string[];
};

export function postJson(person: Person, path: string, body: object): Promise<Response> {
  const headers = { 'content-type': 'application/json', accept: 'application/json' };
  return person.request(path, { method: 'POST', headers, body: JSON.stringify(body) });
}

/** Turns it on for the person signed in in this browser. The code that did so counts as used. */
export async function turnOnTwoStep(app: TestApp, person: Person): Promise<TwoStep> {
  const page = await person.open('/account/two-step/set-up');
  const code = authenticatorOf(page.html);
  const shown = await person.submit(page, 'totp-set-up', { code: code() });
  const recoveryCodes = recoveryCodesOf(shown.html);
  if (recoveryCodes.length === 0) throw new Error(`not turned on: ${shown.status} ${shown.html.slice(0, 500)}`);
  await forgetSteps(app);
  return { code, recoveryCodes };
}

/** No time step counts as used any more, as if some had passed. */
export async function forgetSteps(app: TestApp): Promise<void> {
  await app.database.db.update(totpSecrets).set({ lastStep: 0 });
}
