/**
 * From one statement of a token request on nothing reaches the database any more, as if the process had died there:
 * before the statement, or after it was done and before anybody heard of it. The next request finds a state that it can
 * resolve: nobody has two answers, and nothing lives on that should be revoked.
 */
import { sql } from 'drizzle-orm';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createExchangeApis, createExchanger, exchange, issueFor, permit } from '../apis/exchange.ts';
import { allow, invoices, photos } from '../apis/fixture.ts';
import {
  type Answer,
  issueCode,
  issueTokens,
  post,
  redeem,
  refresh,
  type SignedIn,
  signedInPerson,
  userinfoStatus,
} from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { clearAuditLog } from '../support/audit.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';

type Breakable = pg.Client & { connection: { stream: { destroy(): void } } };
type Moment = 'before' | 'after';

let app: TestApp;
let client: Registration;
let signedIn: SignedIn;

/** Statements until the crash, … */
let fuse = 0;
/** … at which moment of the last one, and whether it has happened. */
let moment: Moment = 'before';
let crashed = false;

beforeAll(() => {
  const { query } = pg.Client.prototype;
  vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: Breakable, ...args: unknown[]) {
    // Whatever else goes on in this process has a database of its own.
    const counted =
      app !== undefined && this.database === new URL(app.databaseUrl).pathname.slice(1) && counts(args[0]);
    if (counted) fuse -= 1;
    const now = fuse === 0 && counted;
    if (now && moment === 'after') {
      const die = () => {
        crashed = true;
        this.connection.stream.destroy();
        return new Error('Connection terminated unexpectedly');
      };
      const callback = args.at(-1);
      if (typeof callback === 'function')
        return Reflect.apply(query, this, [...args.slice(0, -1), () => callback(die())]);
      return (Reflect.apply(query, this, args) as unknown as Promise<unknown>).then(() => Promise.reject(die()));
    }
    crashed ||= now;
    if (crashed) this.connection.stream.destroy();
    return Reflect.apply(query, this, args);
  } as never);
});
afterAll(() => {
  vi.restoreAllMocks();
});

describe.each([
  ['strictly', '0', [200, 400]],
  ['with a leeway', '10', [200]],
])('%s', (_how, leeway, outcomes) => {
  beforeAll(() => start(leeway));
  afterAll(() => app.close());

  test('refresh: the same token works again, or its family is at its end', async () => {
    const repeats = await atEveryStatement(async () => {
      const tokens = await issueTokens(app, client, signedIn);
      const send = () => refresh(app, client, tokens.refresh_token);
      return {
        send,
        async resolve() {
          const repeat = await send();
          if (repeat.status === 200) {
            expect(await userinfoStatus(app, String(repeat.body.access_token))).toBe(200);
            expect(await userinfoStatus(app, tokens.access_token)).toBe(200);
          } else {
            expect(repeat).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
            expect(await liveTokens()).toBe(0);
          }
          return repeat.status;
        },
      };
    });
    expect([...new Set(repeats)].sort()).toEqual(outcomes);
  });
});

describe('strictly', () => {
  beforeAll(() => start('0'));
  afterAll(() => app.close());

  test('code: it works again, or nothing that it was good for lives', async () => {
    const repeats = await atEveryStatement(async () => {
      const issued = await issueCode(app, client, signedIn, { scope: 'openid offline_access', prompt: 'consent' });
      const send = () => redeem(app, client, issued);
      return {
        send,
        async resolve() {
          const repeat = await send();
          if (repeat.status !== 200) expect(repeat).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
          expect(await liveTokens()).toBe(repeat.status === 200 ? 2 : 0);
          return repeat.status;
        },
      };
    });
    expect([...new Set(repeats)].sort()).toEqual([200, 400]);
  });

  test('reuse: the family ends with the record of it, or neither, and then at the next reuse', async () => {
    await atEveryStatement(async () => {
      await clearAuditLog(app.database.db);
      const first = await issueTokens(app, client, signedIn);
      expect((await refresh(app, client, first.refresh_token)).status).toBe(200);
      const send = () => refresh(app, client, first.refresh_token);
      return {
        send,
        async resolve() {
          expect((await liveTokens()) === 0).toBe((await records()) === 1);
          expect(await send()).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
          expect([await liveTokens(), await records()]).toEqual([0, 1]);
        },
      };
    });
  });

  test('exchange: no token without its record, and the subject’s token works again', async () => {
    await createExchangeApis(app);
    const service = await createExchanger(app, { [photos]: ['read'] });
    await permit(app, service, invoices, photos, 'delegation');
    await allow(app, client, { [invoices]: ['read'] });
    await atEveryStatement(async () => {
      await clearAuditLog(app.database.db);
      const { access_token } = await issueFor(app, client, signedIn, invoices);
      const send = () => exchange(app, service, access_token, { resource: photos });
      return {
        send,
        async resolve() {
          expect(await exchangedTokens()).toBeLessThanOrEqual(await records('token.exchanged'));
          expect((await send()).status).toBe(200);
          expect(await exchangedTokens()).toBeLessThanOrEqual(await records('token.exchanged'));
        },
      };
    });
  });

  test.each(['refresh_token', 'access_token'] as const)(
    'revocation of a %s: 200 means that nothing of it lives',
    async (kind) => {
      await atEveryStatement(async () => {
        const tokens = await issueTokens(app, client, signedIn);
        const send = () => post(app, 'revocation', { token: tokens[kind], token_type_hint: kind }, client);
        return {
          send,
          async resolve() {
            expect((await send()).status).toBe(200);
            expect(await liveTokens()).toBe(0);
          },
        };
      });
    },
  );
});

async function start(leeway: string): Promise<void> {
  app = await startApp({ env: { REFRESH_TOKEN_LEEWAY: leeway }, expectErrors: true, idle: true });
  client = await registerClient(app);
  signedIn = await signedInPerson(app);
}

/** A request of which everything is tried, and what must hold after the crash. */
type Story<T> = { send(): Promise<Answer>; resolve(): Promise<T> };

/** What a request writes or decides by; other statements may be of something in the background. */
function counts(query: unknown): boolean {
  const text = typeof query === 'string' ? query : (query as { text: string }).text;
  return /"(oidc_grants|oidc_sessions|audit_events)"|^(begin|commit)/i.test(text);
}

/** Sends a request of a new story for each statement that it makes, with the crash there, and one without any. */
async function atEveryStatement<T>(prepare: () => Promise<Story<T>>): Promise<T[]> {
  const resolved: T[] = [];
  for (const when of ['before', 'after'] as const) {
    for (let statement = 1; ; statement += 1) {
      await app.database.db.execute(sql`delete from oidc_grants where model <> 'Grant'`);
      const { send, resolve } = await prepare();
      [fuse, moment, crashed] = [statement, when, false];
      const { status } = await send();
      const reached = crashed;
      [fuse, crashed] = [0, false];
      if (!reached) {
        expect(statement).toBeGreaterThan(2);
        break;
      }
      expect(status, `${when} statement ${statement}`).toBe(503);
      resolved.push(await resolve());
    }
  }
  return resolved;
}

async function liveTokens(): Promise<number> {
  const { rows } = await app.database.db.execute(sql`
    select count(*)::int as count from oidc_grants token
    where model in ('AccessToken', 'RefreshToken') and consumed_at is null
      and exists (select from oidc_grants its where its.model = 'Grant' and its.id = token.grant_id)`);
  return Number(rows[0]?.count);
}

async function exchangedTokens(): Promise<number> {
  const { rows } = await app.database.db.execute(sql`
    select count(*)::int as count from oidc_grants where model = 'AccessToken' and payload ->> 'aud' = ${photos}`);
  return Number(rows[0]?.count);
}

async function records(event = 'refresh-token.reused'): Promise<number> {
  const { rows } = await app.database.db.execute(
    sql`select count(*)::int as count from audit_events where event = ${event}`,
  );
  return Number(rows[0]?.count);
}
