/** examples/web-app and what it must not fall for: answers that are forged, used or of somebody else, and tokens that ran out. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { ShortMemory } from '../../examples/web-app/short-memory.ts';
import { fillRing, ringKeys, rotateKeys } from '../../src/keys/key-ring.ts';
import { advance } from '../security/protocol.ts';
import { type Page, readText } from '../support/person.ts';
import { registerAccount } from '../support/relying-party.ts';
import {
  answer,
  createReader,
  encryptionOf,
  isKnown,
  type Library,
  leave,
  type Reader,
  startLibrary,
  visitLibrary,
} from './library.ts';

let library: Library;
let ada: Awaited<ReturnType<typeof registerAccount>>;
let reader: Reader;

beforeAll(async () => {
  library = await startLibrary();
  ada = await registerAccount(library.app);
  // On a server that has just started the key that waits is still being made; clients see it long before it signs.
  await fillRing(library.app.database.db, encryptionOf(library.app), ['RS256']);
  const keys = await ringKeys(library.app.database.db);
  await isPublished(keys.find(({ alg, state }) => alg === 'RS256' && state === 'next')?.kid);
});
beforeEach(() => {
  reader = createReader(library);
});
afterEach(() => {
  vi.useRealTimers();
});
afterAll(() => library.close());

const heading = ({ html }: Page) => /<h1>([^<]*)/.exec(html)?.[1];
/** A page with this status and heading, and a link that leads on. */
function expectPage(page: Page, status: number, title: string, wayOn: string): void {
  expect([page.status, heading(page)], readText(page.html)).toEqual([status, title]);
  expect(page.html).toContain(`class="main" href="${wayOn}"`);
  expect(page.headers.get('cache-control')).toBe('no-store');
}
const startAgain = [400, 'This sign-in is over', '/sign-in'] as const;
const refused = [400, 'That sign-in didn’t work'] as const;
const profile = () => `${library.origin}/profile`;

async function isPublished(kid = 'none'): Promise<void> {
  const published = async () => (await fetch(`${library.app.issuer}/jwks`)).text();
  await vi.waitFor(async () => expect(await published()).toContain(kid), { timeout: 10_000 });
}

/** An answer of Latchkey with some of its parameters changed. */
function change(callback: string, parameters: Record<string, string>): string {
  const url = new URL(callback);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url.href;
}

describe('a callback', () => {
  test('with a state that is forged, missing or twice there signs nobody in, and leaves the real one as it was', async () => {
    const callback = await answer(reader, await leave(reader), ada);
    for (const forged of [change(callback, { state: 'forged' }), `${library.origin}/callback`, `${callback}&state=x`]) {
      expectPage(await reader.library.open(forged), ...startAgain);
    }
    expect(await isKnown(reader)).toBe(false);
    expect(heading(await reader.library.open(callback))).toBe('Your profile');
  });

  test('in another browser than the one that was sent away signs nobody in there', async () => {
    const callback = await answer(reader, await leave(reader), ada);
    const victim = createReader(library);
    expectPage(await victim.library.open(callback), ...startAgain);
    await leave(victim);
    expectPage(await victim.library.open(callback), ...startAgain);
    expect(await isKnown(victim)).toBe(false);
  });

  test('that comes again changes nothing, and says so to who is signed in and to who is not', async () => {
    const callback = await answer(reader, await leave(reader), ada);
    await reader.library.open(callback);
    const again = await reader.library.open(callback);
    expectPage(again, 400, 'This sign-in is over', '/profile');
    expect(readText(again.html)).toContain('You’re signed in as Ada Moreno');
    expect(heading(await reader.library.open('/profile'))).toBe('Your profile');
    reader.library.jar.delete('fernwood_session /');
    expectPage(await reader.library.open(callback), ...startAgain);
  });

  test.each([
    ['of another issuer', { iss: 'http://localhost:9/oidc' }],
    ['that has another code', { code: 'made-up' }],
    ['with an error that is not the person’s', { error: 'server_error' }],
  ])('%s is refused, and its request used up', async (_what, parameters) => {
    const callback = await answer(reader, await leave(reader, '/history'), ada);
    expectPage(await reader.library.open(change(callback, parameters)), ...refused, `${library.origin}/history`);
    expectPage(await reader.library.open(callback), ...startAgain);
    expect(await isKnown(reader)).toBe(false);
  });

  test('with the code of somebody else’s sign-in is refused: only its own verifier redeems it', async () => {
    const eve = createReader(library);
    const hers = await answer(eve, await leave(eve), await registerAccount(library.app, { name: 'Eve' }));
    const callback = await answer(reader, await leave(reader), ada);
    const code = new URL(hers).searchParams.get('code') ?? '';
    expectPage(await reader.library.open(change(callback, { code })), ...refused, profile());
    expect(await isKnown(reader)).toBe(false);
  });

  test('of each of two tabs is good, in whatever order', async () => {
    const [first, second] = [await leave(reader), await leave(reader, '/history')];
    const backs = [await answer(reader, second, ada), await answer(reader, first, ada)];
    expect(heading(await reader.library.open(backs[0] as string))).toBe('Borrowing history');
    expect(heading(await reader.library.open(backs[1] as string))).toBe('Your profile');
  });
});

describe('a session', () => {
  test('gets a new id at each sign-in, whatever was planted before, and the old one is worthless', async () => {
    const id = () => reader.library.jar.get('fernwood_session /')?.value ?? '';
    reader.library.jar.set('fernwood_session /', { value: 'planted', path: '/' });
    await visitLibrary(reader, ada);
    const first = id();
    expect(first).toMatch(/^[\w-]{43}$/);
    await reader.library.open(await answer(reader, await leave(reader, '/sign-in'), ada));
    expect(id()).not.toBe(first);
    for (const value of ['planted', first]) {
      reader.library.jar.set('fernwood_session /', { value, path: '/' });
      expect(await isKnown(reader)).toBe(false);
    }
  });

  test.each(['https://evil.example/', '//evil.example', '/\\evil.example', '/.//evil.example', 'javascript:alert(1)'])(
    'starts on a page of the library when return_to is %s',
    async (wanted) => {
      const away = await leave(reader, `/sign-in?return_to=${encodeURIComponent(wanted)}`);
      const back = await reader.library.request(await answer(reader, away, ada));
      expect([back.status, new URL(back.headers.get('location') ?? '').origin]).toEqual([303, library.origin]);
    },
  );

  test('is not ended by a form on another page, and a sign-out that nobody began says nothing', async () => {
    await visitLibrary(reader, ada);
    for (const origin of ['http://localhost:9', 'null']) {
      const page = await reader.library.open('/sign-out', { method: 'POST', headers: { origin } });
      expect([page.status, heading(page)]).toEqual([403, 'That wasn’t us asking']);
    }
    expect(heading(await reader.library.open('/signed-out?state=made-up'))).toMatch(/^Welcome back/);
  });
});

describe('an access token that has run out', () => {
  const renewals = ({ html }: Page) => /Renewed \d+ times?/.exec(html)?.[0];

  test('is renewed once, however many pages load at the same moment', async () => {
    expect(renewals(await visitLibrary(reader, ada))).toBe('Renewed 0 times');
    const asked = () => library.app.log.filter(({ path }) => path === '/oidc/token').length;
    const before = asked();
    advance(2 * 60 * 60);
    const pages = await Promise.all(Array.from({ length: 10 }, () => reader.library.open('/profile')));
    expect(pages.map(renewals)).toEqual(pages.map(() => 'Renewed 1 time'));
    expect(asked() - before).toBe(1);
  });

  test('ends the visit, with a way back to the page, when the person has disconnected the app', async () => {
    const bob = await registerAccount(library.app, { name: 'Bob Okafor' });
    await visitLibrary(reader, bob);
    const apps = `/account/apps/${encodeURIComponent(library.clientId)}/disconnection`;
    await reader.latchkey.request(apps, { method: 'POST', headers: { origin: library.app.origin } });
    expectPage(await reader.library.open('/profile?tab=1'), 403, 'Your visit has ended', '/profile?tab=1');
    expect(await isKnown(reader)).toBe(false);
    expect(heading(await visitLibrary(reader, bob))).toBe('Your profile');
  });
});

describe('a page that wants a recent sign-in', () => {
  test('asks for the password after five minutes, other pages do not', async () => {
    advance(-10 * 60);
    await visitLibrary(reader, ada);
    vi.useRealTimers();
    expect(heading(await reader.library.open('/profile'))).toBe('Your profile');
    const away = await leave(reader, '/history');
    expect((await reader.latchkey.open(away)).html).toContain('id="login"');
    const page = await reader.library.open(await answer(reader, away, ada));
    expect(heading(page)).toBe('Borrowing history');
    expect(heading(await reader.library.open('/history'))).toBe('Borrowing history');
  });

  test('is not opened by an answer that says the sign-in is old', async () => {
    advance(-10 * 60);
    const old = await answer(reader, await leave(reader, '/history'), ada);
    // The sign-in of this answer is ten minutes old where the page looks at it.
    expectPage(await reader.library.open(old), ...refused, `${library.origin}/history`);
    expect(await isKnown(reader)).toBe(false);
  });
});

test('a page that wants two steps is not opened by asking for them: the ID token has to say so', async () => {
  await visitLibrary(reader, ada);
  const away = await library.line.garbled('claims=', 'clowns=', () => leave(reader, '/card'));
  const page = await reader.library.open(await answer(reader, away, ada));
  expectPage(page, 403, 'One more step is needed', `${library.origin}/card`);
  expect((await reader.latchkey.open(await leave(reader, '/card'))).url).toContain('/set-up');
});

test('keys rotate, and people go on signing in', async () => {
  await visitLibrary(reader, ada);
  const { db } = library.app.database;
  const result = await rotateKeys(db, encryptionOf(library.app), ['RS256'], { force: true });
  const [rotated] = 'rotated' in result ? result.rotated : [];
  await isPublished(rotated?.waits);
  const another = createReader(library);
  expect(heading(await visitLibrary(another, ada))).toBe('Your profile');
});

test('what is under way is remembered for a while, handed out once, and never more of it than the limit', () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  const memory = new ShortMemory<string>({ lifetime: 60_000, limit: 2 });
  memory.set('a', 'first');
  expect([memory.take('a'), memory.take('a')]).toEqual(['first', undefined]);
  memory.set('b', 'second');
  vi.setSystemTime(Date.now() + 59_000);
  expect(memory.get('b')).toBe('second');
  memory.set('c', 'third');
  vi.setSystemTime(Date.now() + 2_000);
  expect([memory.get('b'), memory.take('b'), memory.get('c')]).toEqual([undefined, undefined, 'third']);
  for (const key of ['d', 'e']) memory.set(key, key);
  expect(memory.entries()).toEqual([
    ['d', 'd'],
    ['e', 'e'],
  ]);
});
