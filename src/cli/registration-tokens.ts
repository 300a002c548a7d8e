import type { Command } from 'commander';
import {
  createInitialAccessToken,
  type InitialAccessToken,
  listInitialAccessTokens,
  revokeInitialAccessToken,
} from '../clients/initial-access-tokens.ts';
import { withDatabase } from './database.ts';
import { operator } from './operator.ts';
import { count, epochSeconds, formatDate, formatTable, print, printJson } from './output.ts';

const dayMs = 24 * 60 * 60 * 1000;

/** `latchkey registration-tokens …`: RFC 7591 initial access tokens, for developers who may register clients. */
export function addRegistrationTokens(program: Command): void {
  const tokens = program
    .command('registration-tokens')
    .description('who may register clients when CLIENT_REGISTRATION is token');
  tokens
    .command('create')
    .description('make an initial access token and print it, this once')
    .option('--uses <count>', 'how many clients may be registered with it', count, 1)
    .option('--days <count>', 'how many days it is good for', count, 7)
    .option('--label <text>', 'a note for yourself')
    .option('--json', 'print {"token", "uses", "expires_at"}')
    .addHelpText(
      'after',
      `
Example:
  npm run latchkey -- registration-tokens create --uses 3 --label "the web team"
  curl https://id.example.com/clients -H "authorization: Bearer <token>" -H "content-type: application/json" \\
    -d '{"client_name":"My app","redirect_uris":["https://app.example.com/callback"]}'`,
    )
    .action(create);
  tokens
    .command('list')
    .description('list the tokens that were made, the oldest first; the tokens themselves are not kept')
    .option('--json', 'print an array of {"id", "label", "uses_left", "expires_at", "created_at"}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- registration-tokens list')
    .action(list);
  tokens
    .command('revoke')
    .description('make a token useless; clients that were registered with it stay')
    .argument('<id>', 'as list shows it')
    .option('--json', 'print {"revoked": id}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- registration-tokens revoke 5e884898')
    .action(revoke);
}

async function create(options: { uses: number; days: number; label?: string; json?: true }): Promise<void> {
  const { uses, days, label } = options;
  const expiresAt = new Date(Date.now() + days * dayMs);
  await withDatabase(async (db) => {
    const token = await createInitialAccessToken(
      db,
      { uses, expiresAt, ...(label !== undefined && { label }) },
      operator(),
    );
    if (options.json) printJson({ token, uses, expires_at: epochSeconds(expiresAt) });
    else
      print(
        `Initial access token, shown this once, for ${uses} registration(s) until ${expiresAt.toISOString()}:\n${token}`,
      );
  });
}

async function list({ json }: { json?: true }): Promise<void> {
  const tokens = await withDatabase(listInitialAccessTokens);
  if (json) return printJson(tokens.map(toJson));
  if (tokens.length === 0)
    return print('No tokens yet. Make one with `npm run latchkey -- registration-tokens create`.');
  const rows = tokens.map(({ id, label, usesLeft, expiresAt, createdAt }) => [
    id,
    label ?? undefined,
    usesLeft === null ? 'any' : String(usesLeft),
    expiresAt?.toISOString() ?? 'never',
    formatDate(createdAt),
  ]);
  print(formatTable(['id', 'label', 'uses left', 'expires', 'since'], rows));
}

function toJson({ id, label, usesLeft, expiresAt, createdAt }: InitialAccessToken): Record<string, unknown> {
  return {
    id,
    label,
    uses_left: usesLeft,
    expires_at: expiresAt && epochSeconds(expiresAt),
    created_at: epochSeconds(createdAt),
  };
}

async function revoke(id: string, { json }: { json?: true }): Promise<void> {
  const revoked = await withDatabase((db) => revokeInitialAccessToken(db, id.toLowerCase(), operator()));
  if (!revoked) throw new Error(`There is no token ${id}.`);
  if (json) printJson({ revoked: id });
  else print(`Revoked ${id}.`);
}
