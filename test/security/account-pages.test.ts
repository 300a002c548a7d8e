/** The signed-in person's own pages, as a stranger, another person and a browser that was left open find them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { ageSignIns } from '../support/old-sign-in.ts';
import { createPerson } from '../support/person.ts';
import { registerAccount, signIn } from '../support/relying-party.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startApp();
});
afterAll(() => app.close());

type Listing = { listRoutes(): { path: string; methods?: string[]; router?: Listing }[] };

function routesBelow(router: Listing, start: string, prefix = ''): string[] {
  return router.listRoutes().flatMap(({ path, methods = [], router: inner }) => {
    const whole = `${prefix}${path === '/' ? '' : path}`;
    if (inner) return routesBelow(inner, start, whole);
    const known = methods.filter((method) => method !== 'HEAD');
    return whole.startsWith(start) ? known.map((method) => `${method} ${whole}`) : [];
  });
}

const routes = () => [...new Set(routesBelow(app.app.router as unknown as Listing, '/account'))];

function send(route: string, who: (path: string, init: RequestInit) => Promise<Response>): Promise<Response> {
  const [method = '', path = ''] = route.split(' ');
  const headers = { accept: 'application/json', 'content-type': 'application/json' };
  return who(path.replace(/:\w+/g, 'something'), { method, headers, ...(method === 'POST' && { body: '{}' }) });
}

/** What ends something of one's own, tells nothing secret, or asks for the password itself. */
const withoutRecentSignIn = [
  'GET /account',
  'GET /account/profile',
  'POST /account/profile',
  'GET /account/security',
  'GET /account/sessions',
  'POST /account/sessions/:handle/end',
  'POST /account/sessions/end-others',
  'POST /account/sign-out',
  'GET /account/apps',
  'POST /account/apps/:client_id/disconnection',
  'GET /account/activity',
  'GET /account/data',
  'GET /account/password',
  'POST /account/password',
  'GET /account/two-step',
  'GET /account/two-step/recovery-codes',
  'POST /account/two-step/browsers/:handle/removal',
  // Sends back what was sent.
  'POST /account/two-step/recovery-codes/file',
  'GET /account/passkeys',
  'GET /account/passkeys/:id',
  // A name.
  'POST /account/passkeys/:id',
  // To the address that the account has.
  'POST /account/verify-email',
  // Calls off.
  'POST /account/email/cancellation',
];

describe('every page and form of the account', () => {
  test('is nobody’s without a session', async () => {
    const stranger = createPerson(app.origin);
    const found = routes();
    expect(found.length).toBeGreaterThan(20);
    for (const route of found) {
      const response = await send(route, stranger.request);
      const to = response.headers.get('location')?.split('?')[0];
      expect([route, response.status, to]).toEqual(
        route.startsWith('GET') ? [route, 303, '/auth/login'] : [route, 401, undefined],
      );
    }
  });

  test('asks for a recent sign-in, or has a reason not to (SECURITY 56)', async () => {
    const ada = await registerAccount(app);
    const person = createPerson(app.origin);
    await signIn(person, await person.open('/auth/login'), ada);
    await ageSignIns(app, ada, 11);
    const signOut = 'POST /account/sign-out';
    const others = routes().filter((route) => route !== signOut);
    const withoutAsking: string[] = [];
    for (const route of [...others, signOut]) {
      const response = await send(route, person.request);
      const { error } = response.status === 401 ? ((await response.json()) as { error: string }) : { error: '' };
      if (error !== 'recent_sign_in_required') withoutAsking.push(route);
    }
    expect(withoutAsking.sort()).toEqual([...withoutRecentSignIn].sort());
  });
});
