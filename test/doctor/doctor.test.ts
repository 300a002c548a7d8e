/** `latchkey doctor` finds what is wrong with an installation, each fault planted in a real one, and names the fix. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { allMigrations } from '../../src/db/migrations.ts';
import { finishMove, startMove } from '../../src/db/move.ts';
import { writeChallenge } from '../../src/doctor/challenge.ts';
import type { Finding } from '../../src/doctor/finding.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { runCommandLine } from '../support/command-line.ts';
import { freePort } from '../support/listen.ts';
import { bodyOf, startMailServer } from '../support/mail-server.ts';
import { startProxy, type TestProxy } from '../support/tls-proxy.ts';
import { createCertificate, type Holder, privateKeyPem } from '../support/x509.ts';

const folder = mkdtempSync(join(tmpdir(), 'latchkey-doctor-'));
const dayMs = 24 * 60 * 60 * 1000;
const authority = createCertificate({ subject: [['CN', 'Test authority']], ca: true });
const caFile = join(folder, 'authority.pem');
writeFileSync(caFile, authority.pem);

let proxy: TestProxy;
/** Behind a proxy that terminates TLS and does all as it should. */
let app: TestApp;

beforeAll(async () => {
  proxy = await startProxy(filesOf(certificate()));
  app = await startApp({ env: { OIDC_ISSUER: `https://localhost:${proxy.port}`, TRUST_PROXY: '1' } });
  proxy.behaviour.port = app.port;
});
afterEach(() => {
  vi.useRealTimers();
  for (const name of Object.keys(proxy.behaviour)) delete proxy.behaviour[name as keyof typeof proxy.behaviour];
  proxy.behaviour.port = app.port;
});
afterAll(async () => {
  await proxy.close();
  await app.close();
  rmSync(folder, { recursive: true });
});

function certificate(wish: Partial<Parameters<typeof createCertificate>[0]> = {}): Holder {
  const subject = [['CN', 'localhost']] as const;
  return createCertificate({ subject, issuer: authority, names: { dns: 'localhost' }, purpose: 'server', ...wish });
}

function filesOf(holder: Holder) {
  return { key: privateKeyPem(holder), cert: holder.pem };
}

/** What it says, by what was looked at, of the application with changes of its own environment. */
async function doctor(changes: Record<string, string> = {}, of: TestApp = app, words: string[] = []) {
  const env = { ...of.env, PORT: String(of.port), HOST: '127.0.0.1', DATA_DIR: join(folder, 'data'), ...changes };
  const { code, stdout, stderr } = await runCommandLine({ env, folder }, [
    'doctor',
    '--json',
    '--ca-file',
    caFile,
    ...words,
  ]);
  const report = JSON.parse(stdout) as { problems: number; warnings: number; findings: Finding[] };
  expect({ code, stderr }).toEqual(
    report.problems === 0
      ? { code: 0, stderr: '' }
      : { code: 1, stderr: expect.stringMatching(/^error: \d+ problems? (was|were) found\.\n$/) },
  );
  // Nothing that it says is a secret.
  for (const secret of ['OIDC_COOKIE_SECRET', 'OIDC_ENCRYPTION_KEY', 'DATABASE_URL', 'SMTP_URL']) {
    if (env[secret as keyof typeof env]) expect(stdout).not.toContain(env[secret as keyof typeof env]);
  }
  return report.findings;
}

/** But for the time that the database takes: this machine may be busy. */
const wrong = (findings: Finding[]) =>
  findings.filter(({ check, state }) => state !== 'ok' && !(check === 'database' && state === 'warning'));
const found = (check: string, state: Finding['state'], what: RegExp, fix: RegExp) => ({
  check,
  state,
  found: expect.stringMatching(what),
  fix: expect.stringMatching(fix),
});

test('a good installation behind a TLS proxy has nothing to mend, and is changed by nothing', async () => {
  const mail = await startMailServer({ user: { name: 'id', password: 'p@ss word' } });
  onTestFinished(() => mail.close());
  const findings = await doctor({ SMTP_URL: mail.url }, app, ['--mail-to', 'me@example.com']);
  expect(wrong(findings)).toEqual([]);
  expect(findings.map(({ check }) => check)).toEqual([
    'settings',
    'database',
    'database version',
    'database role',
    'clock database',
    'migrations',
    'connections',
    'tables',
    'sweep',
    'keys',
    'encryption',
    'mail queue',
    'mail',
    'certificate',
    'issuer',
    'clock http',
    'host',
    'protocol',
    'address',
    'cookies',
    'clock server',
  ]);
  expect(mail.received).toMatchObject([{ to: ['me@example.com'] }]);
  expect(bodyOf(mail.received[0] ?? { from: '', to: [], raw: '' })).toContain('latchkey doctor');
});

test('for people it is a line for each thing looked at, and the fix under what is wrong', async () => {
  proxy.behaviour.onRequest = (headers) => {
    headers.host = '127.0.0.1:3000';
  };
  const env = { ...app.env, PORT: String(app.port), DATA_DIR: folder };
  const { code, stdout, stderr } = await runCommandLine({ env, folder }, ['doctor', '--ca-file', caFile]);
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('found.') });
  expect(stdout).toMatch(/^ok {7}issuer {12}https:\/\/localhost:\d+\/oidc answers in \d+ ms\.$/m);
  expect(stdout).toMatch(/^PROBLEM {2}host .*\n +fix: Let the proxy pass Host unchanged: .*$/m);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what must not be there
  expect(stdout).not.toMatch(/\u001b/);
});

describe('proxies', () => {
  test('one that rewrites Host', async () => {
    proxy.behaviour.onRequest = (headers) => {
      headers.host = 'backend:3000';
    };
    expect(wrong(await doctor())).toEqual([
      found('host', 'problem', /for localhost:\d+ arrive for "backend:3000"/, /proxy_set_header Host \$host;/),
    ]);
  });

  test('one that terminates TLS and does not say so', async () => {
    proxy.behaviour.onRequest = (headers) => void delete headers['x-forwarded-proto'];
    expect(wrong(await doctor())).toEqual([
      found('protocol', 'warning', /terminates TLS and does not say so/, /proxy_set_header X-Forwarded-Proto/),
    ]);
  });

  test('https in front, and http in OIDC_ISSUER', async () => {
    const plain = await startProxy();
    onTestFinished(() => plain.close());
    const inside = await startAppForTest({
      env: { OIDC_ISSUER: `http://localhost:${plain.port}`, TRUST_PROXY: '1' },
      database: { url: app.databaseUrl },
    });
    plain.behaviour.port = inside.port;
    plain.behaviour.onRequest = (headers) => {
      headers['x-forwarded-proto'] = 'https';
    };
    expect(wrong(await doctor({}, inside))).toEqual([
      found('protocol', 'problem', /OIDC_ISSUER says http\./, /Set OIDC_ISSUER=https:\/\/localhost/),
    ]);
    plain.behaviour.redirect = `https://localhost:${proxy.port}/`;
    expect(wrong(await doctor({}, inside))).toEqual([
      found('issuer', 'problem', /redirect to https:/, new RegExp(`Set OIDC_ISSUER=https://localhost:${proxy.port}:`)),
    ]);
  });

  test.each<[env: Record<string, string>, what: RegExp, fix: RegExp]>([
    [{}, /TRUST_PROXY is not set/, /Set TRUST_PROXY=1:/],
    [{ TRUST_PROXY: '10.0.0.0/8' }, /of a proxy \(127\.0\.0\.1\).*trusts too few/, /Add 127\.0\.0\.1 to TRUST_PROXY/],
    [{ TRUST_PROXY: '2' }, /can choose the address/, /Set TRUST_PROXY=1\./],
  ])('TRUST_PROXY that does not fit: %o', async (env, what, fix) => {
    const other = await startAppForTest({
      env: { OIDC_ISSUER: app.origin, ...env },
      database: { url: app.databaseUrl },
    });
    proxy.behaviour.port = other.port;
    expect(wrong(await doctor({}, other))).toEqual([found('address', 'problem', what, fix)]);
  });

  test('one that does not say who asks', async () => {
    proxy.behaviour.onRequest = (headers) => void delete headers['x-forwarded-for'];
    expect(wrong(await doctor())).toEqual([
      found('address', 'problem', /No proxy says who asks/, /proxy_set_header X-Forwarded-For/),
    ]);
  });

  test.each<[what: string, behave: (behaviour: TestProxy['behaviour']) => void, said: RegExp, fix: RegExp]>([
    [
      'strips Set-Cookie',
      (behaviour) => {
        behaviour.onAnswer = (headers) => void delete headers['set-cookie'];
      },
      /does not arrive/,
      /pass Set-Cookie unchanged/,
    ],
    [
      'takes Secure away',
      (behaviour) => {
        behaviour.onAnswer = (headers) => {
          headers['set-cookie'] = [headers['set-cookie'] ?? []]
            .flat()
            .map((line) => String(line).replace('; Secure', ''));
        };
      },
      /arrives changed: without secure/,
      /proxy_cookie_flags off/,
    ],
    [
      'strips Cookie',
      (behaviour) => {
        behaviour.onRequest = (headers) => void delete headers.cookie;
      },
      /do not reach the server/,
      /pass the Cookie header on/,
    ],
  ])('one that %s', async (_what, behave, said, fix) => {
    behave(proxy.behaviour);
    expect(wrong(await doctor())).toEqual([found('cookies', 'problem', said, fix)]);
  });

  test('one whose clock is wrong', async () => {
    const date = new Date(Date.now() - 600_000).toUTCString();
    proxy.behaviour.onAnswer = (headers) => {
      headers.date = date;
    };
    expect(wrong(await doctor())).toEqual([
      found('clock http', 'problem', /is \d{3} seconds behind this machine's/, /keep time by NTP/),
    ]);
  });

  test('one that does not reach the server', async () => {
    proxy.behaviour.port = undefined;
    expect(wrong(await doctor())).toEqual([
      found('issuer', 'problem', /says 502, though the server runs/, /pass requests on to 127\.0\.0\.1:\d+/),
    ]);
  });
});

describe('certificates', () => {
  test.each<[what: string, holder: () => Holder, said: RegExp, fix: RegExp]>([
    [
      'expired',
      () => certificate({ notBefore: new Date(Date.now() - 2 * dayMs), notAfter: new Date(Date.now() - dayMs) }),
      /has expired/,
      /Renew it/,
    ],
    [
      'self-signed',
      () => createCertificate({ subject: [['CN', 'localhost']], names: { dns: 'localhost' } }),
      /self-signed/,
      /--ca-file/,
    ],
    [
      'for another name',
      () => certificate({ names: { dns: 'id.example' } }),
      /is not for localhost/,
      /names localhost/,
    ],
    ['about to end', () => certificate({ notAfter: new Date(Date.now() + 2.5 * dayMs) }), /in 2 days/, /Renew it/],
  ])('%s: found, and the rest is looked at all the same', async (_what, holder, said, fix) => {
    const other = await startProxy(filesOf(holder()));
    onTestFinished(() => other.close());
    const inside = await startAppForTest({
      env: { OIDC_ISSUER: `https://localhost:${other.port}`, TRUST_PROXY: '1' },
      database: { url: app.databaseUrl },
    });
    other.behaviour.port = inside.port;
    const findings = await doctor({}, inside);
    expect(wrong(findings)).toEqual([found('certificate', 'problem', said, fix)]);
    expect(findings).toContainEqual(expect.objectContaining({ check: 'cookies', state: 'ok' }));
  });
});

describe('the issuer', () => {
  test('a name that nobody has', async () => {
    expect(wrong(await doctor({ OIDC_ISSUER: 'https://id.latchkey.invalid' }))).toContainEqual(
      found('issuer', 'problem', /id\.latchkey\.invalid does not resolve/, /DNS record/),
    );
  });

  test('the name of another server', async () => {
    const other = await startAppForTest();
    expect(wrong(await doctor({ OIDC_ISSUER: `http://localhost:${other.port}` }))).toContainEqual(
      found('issuer', 'problem', /calls itself http:\/\/127\.0\.0\.1/, /the same OIDC_ISSUER/),
    );
  });

  test('a server that is down', async () => {
    const port = String(await freePort());
    expect(wrong(await doctor({ OIDC_ISSUER: `http://127.0.0.1:${port}`, PORT: port }))).toEqual([
      found('issuer', 'problem', /No server answers.*ECONNREFUSED/, /npm start/),
    ]);
  });
});

describe('the database', () => {
  test('one that does not answer', async () => {
    expect(wrong(await doctor({ DATABASE_URL: 'postgres://me:hunter2@127.0.0.1:1/x' }))).toEqual([
      found('database', 'problem', /ECONNREFUSED/, /Start PostgreSQL/),
    ]);
  });

  test('a migration that is missing, and one of a newer version', async () => {
    const stale = await startAppForTest({ expectErrors: true });
    const last = allMigrations().at(-1)?.when ?? 0;
    await stale.database.db.execute(
      sql`update drizzle.__drizzle_migrations set created_at = ${last + 1} where created_at = ${last}`,
    );
    const state = wrong(await doctor({}, stale));
    expect(state).toEqual([found('migrations', 'problem', /1 migration is pending/, /latchkey -- migrate/)]);
    await stale.database.db.execute(
      sql`insert into drizzle.__drizzle_migrations (hash, created_at) values ('x', ${last})`,
    );
    expect(wrong(await doctor({}, stale))).toEqual([
      found('migrations', 'warning', /A newer version has changed the tables \(1 /, /Run the newer version/),
    ]);
  });

  test('too few connections', async () => {
    const { db } = app.database;
    const name = new URL(app.databaseUrl).pathname.slice(1);
    await db.execute(sql.raw(`alter database ${name} connection limit 40`));
    onTestFinished(async () => void (await db.execute(sql.raw(`alter database ${name} connection limit -1`))));
    expect(wrong(await doctor({ DATABASE_POOL_SIZE: '50' }))).toEqual([
      found('connections', 'problem', /PostgreSQL allows 40/, /DATABASE_POOL_SIZE=38/),
    ]);
  });

  test('one that takes no changes', async () => {
    const url = new URL(app.databaseUrl);
    url.searchParams.set('options', '-c default_transaction_read_only=on');
    expect(wrong(await doctor({ DATABASE_URL: url.href }))).toEqual([
      found('database role', 'problem', /read-only/, /default_transaction_read_only off/),
    ]);
  });

  test('one that the installation moves away from, or has left', async () => {
    const left = await startAppForTest({ idle: true });
    const move = await startMove(left.databaseUrl, 'db.example.com:5432/latchkey', async () => {});
    expect(wrong(await doctor({}, left))).toContainEqual(
      found('database role', 'problem', /is being moved to db\.example\.com:5432\/latchkey, and/, /^Run promote again/),
    );
    await finishMove(left.databaseUrl, move);
    expect(wrong(await doctor({}, left))).toContainEqual(
      found('database role', 'problem', /was moved to db\.example\.com:5432\/latchkey on \d/, /^Set DATABASE_URL to/),
    );
  });

  test('rows that nobody sweeps', async () => {
    const late = await startAppForTest();
    await late.database.db.execute(sql`insert into playground_runs (id_hash, payload_encrypted, expires_at)
      values ('x', 'x', now() - interval '30 days')`);
    expect(wrong(await doctor({}, late))).toContainEqual(
      found('sweep', 'problem', /minutes too long/, /latchkey -- sweep/),
    );
  });

  test('a clock that disagrees with the database and with what answers', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 120_000 });
    expect(wrong(await doctor())).toContainEqual(
      found('clock database', 'problem', /the database is 1\d\d seconds behind/, /keep time by NTP/),
    );
  });
});

describe('mail', () => {
  test('a mail server that is dead', async () => {
    expect(wrong(await doctor({ SMTP_URL: `smtp://127.0.0.1:${await freePort()}` }))).toEqual([
      found('mail', 'problem', /cannot be reached/, /SMTP_URL/),
    ]);
  });

  test('a wrong password there', async () => {
    const mail = await startMailServer({ user: { name: 'id', password: 'right' } });
    onTestFinished(() => mail.close());
    expect(wrong(await doctor({ SMTP_URL: mail.url.replace(':right@', ':wrong@') }))).toEqual([
      found('mail', 'problem', /refuses our user or password/, /user and password of SMTP_URL/),
    ]);
  });

  test('a sender that the server does not want', async () => {
    const mail = await startMailServer({
      onRecipient: () => {
        throw Object.assign(new Error('no'), { responseCode: 550 });
      },
    });
    onTestFinished(() => mail.close());
    expect(wrong(await doctor({ SMTP_URL: mail.url }, app, ['--mail-to', 'me@example.com']))).toEqual([
      found('mail', 'problem', /does not take the mail \(answered 550/, /MAIL_FROM/),
    ]);
  });

  test('mails that wait for long', async () => {
    const { db } = app.database;
    await db.execute(sql`insert into mails (id, template, message_encrypted, next_attempt_at, created_at)
      values ('late', 'x', 'x', now() + interval '1 day', now() - interval '1 hour')`);
    onTestFinished(async () => void (await db.execute(sql`delete from mails where id = 'late'`)));
    expect(wrong(await doctor())).toEqual([
      found('mail queue', 'warning', /wait: 1, the oldest for 60 minutes/, /its log says/),
    ]);
  });
});

describe('secrets', () => {
  test('another OIDC_ENCRYPTION_KEY than the server has', async () => {
    const OIDC_ENCRYPTION_KEY = randomBytes(32).toString('base64');
    expect(wrong(await doctor({ OIDC_ENCRYPTION_KEY }))).toEqual([
      found('keys', 'problem', /cannot be opened/, /OIDC_ENCRYPTION_KEY=new,old/),
      found('encryption', 'problem', /cannot be opened with OIDC_ENCRYPTION_KEY/, /new,old/),
      found('server', 'problem', /does not know this installation's keys/, /the server's own configuration/),
    ]);
  });

  test('ones that can be guessed', async () => {
    const OIDC_COOKIE_SECRET = 'please-change-me-please-change-me-now';
    expect(wrong(await doctor({ OIDC_COOKIE_SECRET }))).toEqual([
      found('settings', 'problem', /OIDC_COOKIE_SECRET can be guessed/, /openssl rand/),
    ]);
  });

  test('a data folder that others can read', async () => {
    const dataDir = mkdtempSync(join(folder, 'open-'));
    chmodSync(dataDir, 0o755);
    expect(wrong(await doctor({ DATA_DIR: dataDir }))).toEqual([
      found('data folder', 'problem', /Other users of this machine can read/, /chmod -R go= /),
    ]);
  });

  test('a configuration that is wrong', async () => {
    expect(await doctor({ PORT: 'x', BCRYPT_ROUNDS: '9' })).toEqual([
      found('settings', 'problem', /^PORT: expected/, /^Set PORT as/),
      found('settings', 'problem', /^BCRYPT_ROUNDS: expected/, /^Set BCRYPT_ROUNDS as/),
    ]);
  });
});

describe('who has no key learns nothing', () => {
  const seen = (headers: Record<string, string> = {}) =>
    fetch(`http://127.0.0.1:${app.port}/doctor/seen`, { headers: { accept: 'application/json', ...headers } });

  test('without a challenge, with another’s and with an old one there is nothing at the address', async () => {
    const own = createEncryption([Buffer.from(app.env.OIDC_ENCRYPTION_KEY ?? '', 'base64')]);
    const other = createEncryption([randomBytes(32)]);
    const nothing = await (
      await fetch(`http://127.0.0.1:${app.port}/nothing`, { headers: { accept: 'application/json' } })
    ).json();
    const challenges = ['', 'x', writeChallenge(other).sealed, writeChallenge(own, Date.now() - 2 * dayMs).sealed];
    for (const challenge of [undefined, ...challenges]) {
      const answer = await seen(challenge === undefined ? {} : { 'latchkey-doctor': challenge });
      expect(answer.status).toBe(404);
      expect(await answer.json()).toEqual(nothing);
      expect(answer.headers.getSetCookie()).toEqual([]);
    }
    const challenge = writeChallenge(own).sealed;
    const answer = await seen({ 'latchkey-doctor': challenge });
    expect(answer.status).toBe(200);
    // Sealed: nothing of it can be read by who overheard the challenge.
    expect(await answer.text()).toMatch(/^v1\.[\w-]{8}\.[\w-]+$/);
  });
});
