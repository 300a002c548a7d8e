import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { compareSync } from 'bcrypt';
import type { Command } from 'commander';
import { eq, like, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createAccount } from '../../src/accounts/accounts.ts';
import { metadataFrom } from '../../src/cli/client-options.ts';
import { formatFields, formatTable } from '../../src/cli/output.ts';
import { createProgram } from '../../src/cli/program.ts';
import { type Client, findClient } from '../../src/clients/clients.ts';
import { consumeInitialAccessToken } from '../../src/clients/initial-access-tokens.ts';
import { startEmbedded } from '../../src/db/embedded.ts';
import { findPostmaster } from '../../src/db/embedded-postmaster.ts';
import { auditEvents, initialAccessTokens, oidcClients } from '../../src/db/schema.ts';
import { sha256 } from '../../src/lib/hash.ts';
import { type Outcome, runCommandLine } from '../support/command-line.ts';
import { newDataFolder, removeDataFolder } from '../support/data-folder.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

const entry = join(import.meta.dirname, '../../src/cli/latchkey.ts');
const folder = mkdtempSync(join(tmpdir(), 'latchkey-cli-'));
const env = {
  BCRYPT_ROUNDS: '10',
  OIDC_COOKIE_SECRET: randomBytes(32).toString('hex'),
  OIDC_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
};
let database: OpenTestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});

afterAll(async () => {
  await database.close();
  rmSync(folder, { recursive: true });
});

describe('clients', () => {
  test('without any, list says how to make one', async () => {
    expect(await run('clients', 'list')).toEqual(
      done(expect.stringMatching(/^No clients yet\. Create one with `.*`\.$/m)),
    );
    expect(await json('clients', 'list')).toEqual([]);
  });

  test('create prints id and secret, and only the hash of the secret is kept', async () => {
    const uri = 'https://fernwood.example/callback';
    const { stdout } = await run('clients', 'create', '--name', 'Fernwood Library', '--redirect-uri', uri);
    const [, clientId = '', secret = ''] = /^client_id +(c_\S+)\nclient_secret +(\S{43})$/m.exec(stdout) ?? [];
    const client = await storedClient(clientId);
    expect(client).toMatchObject({
      metadata: { client_name: 'Fernwood Library', redirect_uris: [uri] },
      registeredBy: 'operator',
      firstParty: false,
    });
    expect(compareSync(secret, client?.secretHash ?? '')).toBe(true);
    for (const command of ['show', 'list']) {
      const shown = await run('clients', command, ...(command === 'show' ? [clientId] : []));
      expect(shown).toEqual(done(expect.stringContaining('Fernwood Library')));
      expect(shown.stdout).not.toContain(secret);
    }
  });

  test('a public client has no secret, and gets one when it comes to need it', async () => {
    const created = await json('clients', 'create', ...callback, '--auth-method', 'none');
    expect(created).toMatchObject({ token_endpoint_auth_method: 'none', client_id: expect.stringMatching(/^c_/) });
    expect(created).not.toHaveProperty('client_secret');
    expect(await storedClient(created.client_id)).toMatchObject({ secretHash: null });

    const { stdout } = await run('clients', 'update', created.client_id, '--auth-method', 'client_secret_basic');
    const [, secret = ''] = /shown this once:\n(\S{43})$/m.exec(stdout) ?? [];
    expect(compareSync(secret, (await storedClient(created.client_id))?.secretHash ?? '')).toBe(true);
  });

  test('an app on a device needs a name and nothing more, and may be made confidential', async () => {
    const tv = await json('clients', 'create', '--name', 'Living Room TV', '--device');
    expect(tv).toMatchObject({
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
      token_endpoint_auth_method: 'none',
      response_types: [],
    });
    const box = await json('clients', 'create', '--device', '--auth-method', 'client_secret_basic');
    expect(box.client_secret).toMatch(/^\S{43}$/);
  });

  test('metadata comes from JSON or a file, and an option wins over it', async () => {
    const file = join(folder, 'client.json');
    writeFileSync(file, JSON.stringify({ client_name: 'From the file', require_pkce: true }));
    const client = await json('clients', 'create', ...callback, '--metadata', `@${file}`, '--name', 'By option');
    expect(client).toMatchObject({ client_name: 'By option', require_pkce: true });
  });

  test.each(['[]', '{', 'null', '"x"'])('--metadata %s is refused', async (metadata) => {
    await expect(metadataFrom({ metadata })).rejects.toThrow('--metadata takes a JSON object');
  });

  test('update changes what is named and nothing else', async () => {
    const options = ['--name', 'Worker', '--grant-type', 'client_credentials'];
    const {
      client_id: id,
      client_secret,
      registration_access_token,
      ...before
    } = await json('clients', 'create', ...options);
    const grants = ['--grant-type', 'authorization_code', '--grant-type', 'refresh_token'];
    const after = await json(
      'clients',
      'update',
      id,
      ...callback,
      ...grants,
      '--metadata',
      '{"client_uri":"https://a.example"}',
    );
    expect(after).toEqual({
      ...before,
      client_id: id,
      client_uri: 'https://a.example',
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: ['https://rp.example/cb'],
      response_types: ['code'],
      updated_at: expect.any(Number),
    });
    expect(await json('clients', 'update', id, '--metadata', '{"client_uri":null}')).not.toHaveProperty('client_uri');
    expect(compareSync(client_secret, (await storedClient(id))?.secretHash ?? '')).toBe(true);
  });

  test('a client is marked first-party and back, and other changes leave that alone', async () => {
    const { client_id: id } = await json('clients', 'create', ...callback, '--first-party');
    expect((await storedClient(id))?.firstParty).toBe(true);
    expect(await json('clients', 'update', id, '--name', 'Ours')).toMatchObject({ first_party: true });
    expect(await json('clients', 'update', id, '--no-first-party')).toMatchObject({
      first_party: false,
      client_name: 'Ours',
    });
    expect((await storedClient(id))?.firstParty).toBe(false);
  });

  test('delete deletes, without asking where nobody can answer', async () => {
    const id = await storeClient();
    expect(await run('clients', 'delete', id)).toEqual(done(`Deleted ${id}.\n`));
    expect(await storedClient(id)).toBeUndefined();
    expect(await run('clients', 'delete', id)).toEqual(failed(`error: There is no client ${id}.\n`));
  });

  test('a long list is continued behind the last one shown', async () => {
    const ids = [await storeClient(), await storeClient()];
    const { stdout } = await run('clients', 'list', '--limit', '1');
    const [, first = ''] = /There may be more: --after (\S+)$/m.exec(stdout) ?? [];
    const others = await json('clients', 'list', '--after', first);
    expect(others.map((client: { client_id: string }) => client.client_id)).toEqual(expect.arrayContaining(ids));
    expect(JSON.stringify(others)).not.toContain(first);
    expect(await run('clients', 'list', '--after', others.at(-1).client_id)).toEqual(done('No more clients.\n'));
  });

  test('metadata that the routes would refuse is refused here, in one line', async () => {
    expect(
      await run('clients', 'create', '--redirect-uri', 'https://a.example/#x', '--redirect-uri', 'nonsense'),
    ).toEqual(failed(/^error: redirect_uris\.0 .*; redirect_uris\.1 .*\n$/));
    expect(await run('clients', 'create')).toEqual(failed(/^error: redirect_uris .+\n$/));
  });
});

describe('accounts', () => {
  test('without any, list says how they come about', async () => {
    expect(await run('accounts', 'list')).toEqual(done('No accounts yet. People register at /auth/register.\n'));
  });

  test('are listed and shown without anything a terminal would obey', async () => {
    const id = await storeAccount('ada@moreno.example');
    const { stdout } = await run('accounts', 'list');
    expect(stdout.split('\n')[1]).toMatch(
      new RegExp(`^${id} +ada@moreno\\.example +Ada \ufffd\\[2J\ufffdMoreno +\\S{10} +unverified$`),
    );
    const shown = await run('accounts', 'show', id);
    expect(shown).toEqual(done(expect.stringMatching(new RegExp(`^sub +${id}$`, 'm'))));
    for (const hidden of ['not shown', '\u001b', '\u202e']) expect(shown.stdout).not.toContain(hidden);
    expect(await json('accounts', 'list', '--after', id)).toEqual([]);
  });

  test('are found by address in whichever form', async () => {
    const id = await storeAccount('Bea@Moreno.example');
    const account = { sub: id, email: 'Bea@Moreno.example', email_verified: false, suspended_at: null };
    expect(await json('accounts', 'show', 'bea@moreno.EXAMPLE')).toMatchObject(account);
    const nobody = 'eve@moreno.example';
    expect(await run('accounts', 'show', nobody)).toEqual(failed(`error: There is no account ${nobody}.\n`));
  });

  test('are signed out everywhere', async () => {
    const id = await storeAccount('cleo@moreno.example');
    await database.db.execute(sql`
      insert into oidc_sessions (uid, account_id, payload, expires_at)
      values ('cleo', ${id}, '{}', now() + interval '1 day')`);
    expect(await run('accounts', 'sign-out', 'cleo@moreno.example')).toEqual(
      done(`${id} is signed out everywhere. Sessions ended: 1, apps to be told: 0.\n`),
    );
    expect(await json('accounts', 'sign-out', id)).toEqual({ sub: id, sessions: 0, logouts: 0 });
    expect(await run('accounts', 'sign-out', 'u_x')).toEqual(failed('error: There is no account u_x.\n'));
  });
});

test('a registration token is printed once, kept as a hash, and registers as many clients as it says', async () => {
  const made = await json('registration-tokens', 'create', '--uses', '2', '--days', '1', '--label', 'the web team');
  expect(made).toEqual({ token: expect.stringMatching(/^[\w-]{43}$/), uses: 2, expires_at: expect.any(Number) });
  const uses = await Promise.all([1, 2, 3].map(() => consumeInitialAccessToken(database.db, made.token)));
  expect(uses.filter(Boolean)).toHaveLength(2);
  const [row] = await database.db.select().from(initialAccessTokens);
  expect(row).toMatchObject({ label: 'the web team', usesLeft: 0, tokenHash: sha256(made.token) });
});

test('registration tokens are listed by an id that opens nothing, and revoked by it', async () => {
  const { token, expires_at } = await json('registration-tokens', 'create', '--label', 'partners');
  const listed = (await json('registration-tokens', 'list')).find(
    ({ label }: { label: string }) => label === 'partners',
  );
  const { id } = listed;
  expect(listed).toEqual({
    id: expect.stringMatching(/^[\da-f]{8}$/),
    label: 'partners',
    uses_left: 1,
    expires_at,
    created_at: expect.any(Number),
  });
  const shown = await run('registration-tokens', 'list');
  expect(shown.stdout).toMatch(new RegExp(`^${id} +partners +1 +\\S+Z +\\S{10}$`, 'm'));
  for (const secret of [token, sha256(token)]) expect(shown.stdout).not.toContain(secret);

  expect(await run('registration-tokens', 'revoke', id.toUpperCase())).toEqual(done(`Revoked ${id.toUpperCase()}.\n`));
  expect(await consumeInitialAccessToken(database.db, token)).toBe(false);
  for (const unknown of [id, '', '%', token]) {
    expect(await run('registration-tokens', 'revoke', '--', unknown)).toEqual(
      failed(`error: There is no token ${unknown}.\n`),
    );
  }
  const events = await database.db.select().from(auditEvents).where(like(auditEvents.event, 'initial-access-token.%'));
  expect(events.slice(-2)).toMatchObject([
    { event: 'initial-access-token.created', details: { initial_access_token: id, label: 'partners', uses: 1 } },
    { event: 'initial-access-token.revoked', details: { initial_access_token: id, label: 'partners' }, address: null },
  ]);
});

test('a client from a metadata document is shown and deleted, and changed by its document alone', async () => {
  const clientId = 'https://assistant.example/client.json';
  await database.db.insert(oidcClients).values({ clientId, metadata: { client_name: 'A' }, registeredBy: 'document' });
  expect(await json('clients', 'show', clientId)).toMatchObject({ client_id: clientId, registered_by: 'document' });
  expect(await run('clients', 'update', clientId, '--first-party')).toEqual(
    failed('error: The metadata of this client is the document at its client_id.\n'),
  );
  expect(await run('clients', 'delete', clientId, '--yes')).toEqual(done(`Deleted ${clientId}.\n`));
});

test('what the operator does to clients is on record, without an address', async () => {
  const { client_id: id } = await json('clients', 'create', ...callback);
  await run('clients', 'update', id, '--first-party');
  await run('clients', 'delete', id, '--yes');
  const events = await database.db.select().from(auditEvents).where(eq(auditEvents.clientId, id));
  expect(events).toMatchObject([
    { event: 'client.registered', details: { registered_by: 'operator' }, address: null },
    { event: 'client.updated', details: { changed: [], first_party: true } },
    { event: 'client.deleted' },
  ]);
});

test('docs/command-line.md is what --help says', async () => {
  const { program, written } = createQuietProgram();
  const sections = (command: Command): string[] => {
    written.length = 0;
    command.configureOutput({ getOutHelpWidth: () => 100, getOutHasColors: () => false });
    command.outputHelp();
    const path = [command.parent?.parent?.name(), command.parent?.name(), command.name()].filter(Boolean).join(' ');
    return [`## ${path}\n\n\`\`\`text\n${written.join('').trim()}\n\`\`\`\n`, ...command.commands.flatMap(sections)];
  };
  const text = ['# Command line\n', ...sections(program)].join('\n');
  await expect(text).toMatchFileSnapshot(join(import.meta.dirname, '../../docs/command-line.md'));
});

describe('what is not understood is status 2, without a look at the database', () => {
  test('in a process of its own', async () => {
    const { code, stdout, stderr } = await runProcess('clients', 'update', 'c_x');
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: '', stderr: 'error: nothing to change; see --help\n' });
  });

  const rows = ['', 'nonsense', 'clients', 'clients list --limit 0', 'clients show', 'clients show a b', 'migrate --x'];

  test.each(rows)('latchkey %s', async (line) => {
    const { program, written } = createQuietProgram();
    const parsing = program.parseAsync(line.split(' ').filter(Boolean), { from: 'user' });
    await expect(parsing).rejects.toMatchObject({ name: 'CommanderError', exitCode: 1 });
    expect(written.join('')).toMatch(/^(error: |Usage: )/);
  });
});

describe('help', () => {
  test('is status 0', async () => {
    expect(await runProcess('clients', '--help')).toEqual(done(expect.stringMatching(/^Usage: latchkey clients /)));
  });

  test('of every command has an example and names --json', () => {
    const { program, written } = createQuietProgram();
    const leaves = (command: Command): Command[] =>
      command.commands.length > 0 ? command.commands.flatMap(leaves) : [command];
    expect(leaves(program).length).toBeGreaterThan(8);
    for (const command of leaves(program)) {
      written.length = 0;
      command.outputHelp();
      const path = command.parent === program ? command.name() : `${command.parent?.name()} ${command.name()}`;
      // The one that a group does without another word may be shown as the group alone.
      expect(written.join('')).toMatch(
        new RegExp(`npm run latchkey -- (${path}|${command.parent?.name()}( --|$))`, 'm'),
      );
      expect(written.join('')).toContain('--json');
      expect(command.description()).toMatch(/^[a-z]/);
    }
  });
});

describe('faults are status 1 and one line', () => {
  test('a configuration that is wrong', async () => {
    expect(await runProcess({ PORT: 'x', BCRYPT_ROUNDS: '9' }, 'clients', 'list')).toEqual(
      failed(/^PORT: expected .*\nBCRYPT_ROUNDS: expected .*\n$/),
    );
  });

  test('a database that does not answer', async () => {
    expect(await run({ DATABASE_URL: 'postgres://me:hunter2@127.0.0.1:1/x' }, 'clients', 'list')).toEqual(
      failed('error: The database does not answer. Check DATABASE_URL, or try again.\n'),
    );
  });
});

test('the embedded database is started when it is not running, stopped again, and joined when it is', {
  timeout: 90_000,
}, async () => {
  const dataDir = await newDataFolder();
  onTestFinished(() => removeDataFolder(dataDir));
  const embedded = { DATABASE_URL: '', DATA_DIR: dataDir };
  const postmaster = () => findPostmaster({ folder: join(dataDir, 'postgres') });

  expect(await run(embedded, 'clients', 'list')).toEqual(
    failed(/^error: The database is not up to date: run `.* migrate`\.\n$/),
  );
  expect(await run(embedded, 'migrate')).toEqual(done(expect.stringMatching(/^Applied: [1-9]\d*\.\n$/)));
  expect(await run(embedded, 'migrate')).toEqual(done('Nothing to apply: the database is up to date.\n'));
  expect(await postmaster()).toBeUndefined();

  const running = await startEmbedded({ dataDir, log: { info: () => {}, warn: () => {} } });
  onTestFinished(() => running.stop());
  const before = await postmaster();
  expect(await run(embedded, 'clients', 'list', '--json')).toEqual(done('[]\n'));
  expect(before).toBeDefined();
  expect(await postmaster()).toEqual(before);
});

describe('tables', () => {
  const rows = [
    ['c_1', 'A rather long name, as people give them', undefined],
    ['c_2', 'Short', 'x'],
  ];

  test('fit the width they are given, the widest column giving way', () => {
    expect(formatTable(['id', 'name', 'note'], rows, 30).split('\n')).toEqual([
      'ID   NAME                 NOTE',
      'c_1  A rather long name…',
      'c_2  Short                x',
    ]);
  });

  test('are not cut where nobody looks', () => {
    expect(formatTable(['id', 'name', 'note'], rows, Number.POSITIVE_INFINITY)).toContain('as people give them');
  });

  test('fields leave out what is absent and indent what has several lines', () => {
    expect(formatFields({ sub: 'u_1', nickname: undefined, address: 'Elm 1\nOslo' })).toBe(
      'sub      u_1\naddress  Elm 1\n         Oslo',
    );
  });
});

const callback = ['--redirect-uri', 'https://rp.example/cb'];

function done(stdout: string): Outcome {
  return { code: 0, stdout, stderr: '' };
}

/** On stderr, and no stack whatever it says. */
function failed(stderr: string | RegExp): Outcome {
  return { code: 1, stdout: '', stderr: typeof stderr === 'string' ? stderr : expect.stringMatching(stderr) };
}

/** A command in this process. */
function run(...args: (string | Record<string, string>)[]): Promise<Outcome> {
  const { own, words } = split(args);
  return runCommandLine({ env: { DATABASE_URL: database.url, ...env, ...own }, folder }, words);
}

/** The same in a process of its own, as an operator runs it. */
async function runProcess(...args: (string | Record<string, string>)[]): Promise<Outcome> {
  const { own, words } = split(args);
  const child = spawn(process.execPath, [entry, ...words], {
    cwd: folder,
    env: { PATH: process.env.PATH, DATABASE_URL: database.url, ...env, ...own },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  expect(stderr).not.toMatch(/^ +at /m);
  return { code, stdout, stderr };
}

function split(args: (string | Record<string, string>)[]): { own: Record<string, string>; words: string[] } {
  return {
    own: typeof args[0] === 'object' ? args[0] : {},
    words: args.filter((word) => typeof word === 'string'),
  };
}

/** What a command prints with `--json`; its shape is what the test is about. */
async function json(...args: string[]) {
  const outcome = await run(...args, '--json');
  expect(outcome).toEqual(done(expect.any(String)));
  return JSON.parse(outcome.stdout);
}

/** The program with what it writes kept from the terminal. */
function createQuietProgram(): { program: Command; written: string[] } {
  const written: string[] = [];
  const program = createProgram();
  const keep = (text: string) => void written.push(text);
  const quiet = (command: Command): void => {
    command.configureOutput({ writeOut: keep, writeErr: keep });
    command.commands.forEach(quiet);
  };
  quiet(program);
  return { program, written };
}

/** Straight into the table, where making it is not what the test is about. */
async function storeClient(): Promise<string> {
  const clientId = `c_${randomBytes(8).toString('hex')}`;
  const metadata = {
    client_name: 'Stored',
    token_endpoint_auth_method: 'none',
    redirect_uris: ['https://rp.example/cb'],
  };
  await database.db.insert(oidcClients).values({ clientId, metadata, registeredBy: 'open', createdAt: new Date() });
  return clientId;
}

async function storeAccount(email: string): Promise<string> {
  const account = { email, name: 'Ada \u001b[2J\u202eMoreno', passwordHash: 'not shown' };
  const created = await createAccount(database.db, account);
  if (created.outcome !== 'created') throw new Error(created.outcome);
  return created.account.id;
}

function storedClient(clientId: string): Promise<Client | undefined> {
  return findClient(database.db, clientId);
}
