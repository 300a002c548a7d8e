/**
 * The connection to the database breaks at the first statement of a decision about a device, at the second, and so on:
 * afterwards the code is open and can be decided anew, or it is decided and recorded. Nothing is half done.
 */
import { and, eq, like } from 'drizzle-orm';
import pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { auditEvents } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { type Device, enterCode, pollOnce, registerDevice, startDevice } from '../support/device.ts';
import { createPerson, type Page, type Person, readForm, readText } from '../support/person.ts';
import { allow, type Registration, registerAccount, signIn } from '../support/relying-party.ts';

let app: TestApp;
let tv: Registration;
let person: Person;

/** Statements until the connection breaks. */
let fuse = 0;

beforeAll(async () => {
  app = await startApp({ expectErrors: true, idle: true });
  tv = await registerDevice(app);
  const account = await registerAccount(app);
  person = createPerson(app.origin);
  await signIn(person, await person.open('/auth/login'), account);
  const page = await enterCode(person, (await startDevice(app, tv)).user_code);
  await allow(person, await person.submit(page, 'device-confirm', {}, 'device-approve'));
  const { query } = pg.Client.prototype;
  vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: Breakable, ...args: unknown[]) {
    // Whatever else goes on in this process has a database of its own.
    const counts = this.database === new URL(app.databaseUrl).pathname.slice(1);
    if (counts) fuse -= 1;
    if (counts && fuse === 0) this.connection.stream.destroy();
    return Reflect.apply(query, this, args);
  } as never);
});
afterAll(async () => {
  vi.restoreAllMocks();
  await app.close();
});

type Breakable = pg.Client & { connection: { stream: { destroy(): void } } };

async function recorded(): Promise<number> {
  const about = and(eq(auditEvents.clientId, tv.client_id), like(auditEvents.event, 'device.%'));
  return (await app.database.db.select().from(auditEvents).where(about)).length;
}

/** Presses one of the two buttons without going where the answer leads. */
function press(page: Page, name: string): Promise<Response> {
  const { action, hidden } = readForm(page.html, 'device-confirm');
  return person.request(action, { method: 'POST', body: new URLSearchParams([...hidden, [name, 'yes']]) });
}

/** What the person finds on entering the code again, having been told that it did not work. */
async function decideAnew(device: Device): Promise<void> {
  const page = await person.open(device.verification_uri_complete);
  if (!page.html.includes('id="device-confirm"')) return;
  const end = await person.submit(page, 'device-confirm', {}, 'device-approve');
  expect(readText(end.html)).toContain('Your device is connected');
}

test.each([
  ['confirm', undefined],
  ['abort', 'access_denied'],
])('%s', async (button, error) => {
  for (let broken = 1; ; broken += 1) {
    const device = await startDevice(app, tv);
    const page = await enterCode(person, device.user_code);
    const before = await recorded();
    fuse = broken;
    const response = await press(page, button);
    const done = fuse > 0;
    fuse = 0;
    if (done) {
      expect(response.status).toBe(303);
      expect((await pollOnce(app, tv, device)).error).toBe(error);
      expect(broken).toBeGreaterThan(4);
      return;
    }
    expect([response.status, response.headers.get('retry-after')], `statement ${broken}`).toEqual([503, '5']);
    const decided = (await recorded()) - before;
    await decideAnew(device);
    const answer = await pollOnce(app, tv, device);
    expect([broken, answer.error]).toEqual([broken, decided === 0 ? undefined : error]);
    expect(await recorded()).toBe(before + 1);
  }
});
