/** `latchkey accounts import` and `change-email`: what an operator sees, and what is there afterwards. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { auditEvents, emailTokens, users } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { runCommandLine } from '../support/command-line.ts';
import { readMails } from '../support/mailbox.ts';
import { registerAccount } from '../support/relying-party.ts';

const password = 'tram window salt piano';
const django = 'pbkdf2_sha256$10000$Nq3sVbW8xYzK$q7nb0XLPMeEnKExbnoKjCiLsDL7oi6PZSZwxBDYLQHE=';

const folder = mkdtempSync(join(tmpdir(), 'latchkey-import-'));
let app: TestApp;

beforeAll(async () => {
  app = await startApp();
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true });
});

const accounts = (...words: string[]) => runCommandLine({ env: app.env, folder }, ['accounts', ...words]);
const find = async (email: string) => {
  const [row] = await app.database.db.select().from(users).where(eq(users.emailNormalized, email));
  return row;
};
async function signInStatus(email: string, secret = password): Promise<number> {
  const body = JSON.stringify({ email, password: secret });
  const headers = { 'content-type': 'application/json' };
  return (await fetch(`${app.origin}/auth/login`, { method: 'POST', body, headers })).status;
}
function file(name: string, lines: unknown[]): string {
  const path = join(folder, name);
  writeFileSync(path, lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'));
  return path;
}

describe('import', () => {
  test('makes accounts that sign in with the passwords they had, once however often it is run', async () => {
    const path = file('people.jsonl', [
      {
        email: 'Ada@Moreno.example',
        name: 'Ada Moreno',
        email_verified: true,
        password_hash: django,
        locale: 'pt-PT',
        nickname: null,
      },
      '',
      { email: 'bob@moreno.example', preferred_username: 'bob' },
    ]);
    expect(JSON.parse((await accounts('import', path, '--dry-run', '--json')).stdout)).toMatchObject({ created: 2 });
    expect(await find('ada@moreno.example')).toBeUndefined();
    const first = await accounts('import', path, '--json');
    expect([first.code, JSON.parse(first.stdout)]).toEqual([0, { created: 2, existing: 0, refused: [] }]);
    expect(await find('ada@moreno.example')).toMatchObject({
      email: 'Ada@Moreno.example',
      name: 'Ada Moreno',
      emailVerified: true,
      locale: 'pt-PT',
      passwordHash: django,
    });
    expect(await find('bob@moreno.example')).toMatchObject({ name: 'bob', emailVerified: false, passwordHash: null });
    expect([await signInStatus('ada@moreno.example'), await signInStatus('bob@moreno.example', '')]).toEqual([
      200, 400,
    ]);
    const upgraded = (await find('ada@moreno.example'))?.passwordHash;
    expect(upgraded).toMatch(/^\$bcrypt-sha384\$/);
    expect((await accounts('import', path)).stdout).toBe('Created: 0, there already: 2, refused: 0.\n');
    expect((await find('ada@moreno.example'))?.passwordHash).toBe(upgraded);
    const events = await app.database.db.select().from(auditEvents).where(eq(auditEvents.event, 'account.imported'));
    expect(events).toHaveLength(2);
    expect(JSON.stringify(events)).not.toContain('pbkdf2');
  });

  test('takes the good lines, names the others, and repeats no hash', async () => {
    const path = file('mixed.jsonl', [
      {
        email: 'cleo@moreno.example',
        name: 'Cleo',
        password_hash: '$argon2id$v=19$m=99999999,t=3,p=4$c2FsdHNhbHQ$aGFzaA',
      },
      'no json at all',
      { email: 'not an address', name: 'Dan' },
      { email: 'eve@moreno.example', name: 'Eve', website: 'javascript:alert(1)' },
      { email: 'fay@moreno.example', name: 'Fay' },
      { email: 'gus@moreno.example', name: 'Gus', email_verified: 'yes' },
      '[]',
    ]);
    const { code, stdout, stderr } = await accounts('import', path, '--json');
    const { created, refused } = JSON.parse(stdout) as { created: number; refused: { line: number; reason: string }[] };
    expect([code, created, refused.map(({ line }) => line)]).toEqual([1, 1, [1, 2, 3, 4, 6, 7]]);
    expect(refused[0]?.reason).toBe('password_hash: This kind of hash is not known here, or costs too much.');
    expect(stderr).toContain('6 lines were refused');
    expect(stdout + stderr).not.toContain('argon2');
    expect(await find('cleo@moreno.example')).toBeUndefined();
    expect(await find('fay@moreno.example')).toBeDefined();
  });

  test('says when there is no such file', async () => {
    const { code, stderr } = await accounts('import', join(folder, 'missing.jsonl'));
    expect([code, stderr]).toEqual([1, expect.stringMatching(/no such file/)]);
  });
});

describe('change-email', () => {
  test('gives an account another address and tells the one before; earlier links end', async () => {
    const ada = await registerAccount(app);
    const links = () => app.database.db.select().from(emailTokens).where(eq(emailTokens.accountId, ada.sub));
    expect(await links()).not.toEqual([]);
    const done = await accounts('change-email', ada.email, 'found@moreno.example', '--json');
    expect(JSON.parse(done.stdout)).toEqual({ sub: ada.sub, email: 'found@moreno.example', email_verified: false });
    expect(await find('found@moreno.example')).toMatchObject({ id: ada.sub, emailVerified: false });
    expect(await links()).toEqual([]);
    expect((await readMails(app, ada.email))[0]?.subject).toBe('Your email address was changed');
    expect(await signInStatus('found@moreno.example', ada.password)).toBe(200);
  });

  test('takes nobody’s address away', async () => {
    const [ada, bob] = [await registerAccount(app), await registerAccount(app)];
    const { code, stderr } = await accounts('change-email', ada.email, bob.email);
    expect([code, stderr]).toEqual([1, `error: Another account has ${bob.email}.\n`]);
    expect((await accounts('change-email', ada.email, 'nonsense')).code).toBe(1);
    expect((await find(ada.email))?.id).toBe(ada.sub);
  });
});
