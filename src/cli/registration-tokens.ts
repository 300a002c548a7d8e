import type { Command } from 'commander';
import { createInitialAccessToken } from '../clients/initial-access-tokens.ts';
import { withDatabase } from './database.ts';
import { count, print, printJson } from './output.ts';

const dayMs = 24 * 60 * 60 * 1000;

/** `latchkey registration-tokens …`: RFC 7591 initial access tokens, for developers who may register clients. */
export function addRegistrationTokens(program: Command): void {
  const tokens = program
    .command('registration-tokens')
    .description('who may register clients with POST /clients when CLIENT_REGISTRATION is token');
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
}

async function create(options: { uses: number; days: number; label?: string; json?: true }): Promise<void> {
  const { uses, days, label } = options;
  const expiresAt = new Date(Date.now() + days * dayMs);
  await withDatabase(async (db) => {
    const token = await createInitialAccessToken(db, { uses, expiresAt, ...(label !== undefined && { label }) });
    if (options.json) printJson({ token, uses, expires_at: Math.floor(expiresAt.getTime() / 1000) });
    else
      print(
        `Initial access token, shown this once, for ${uses} registration(s) until ${expiresAt.toISOString()}:\n${token}`,
      );
  });
}
