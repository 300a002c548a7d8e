import { type Command, Option } from 'commander';
import { registerClient } from '../clients/clients.ts';
import { withClientDependencies } from './client-dependencies.ts';
import { collect, deviceApp } from './client-options.ts';
import { operator } from './operator.ts';
import { formatFields, print, printJson } from './output.ts';

type Type = keyof typeof presets;
type Options = {
  name?: string;
  type: Type;
  redirectUri?: string[];
  postLogoutRedirectUri?: string[];
  scope?: string;
  firstParty?: true;
  json?: true;
};

const signsPeopleIn = { grant_types: ['authorization_code', 'refresh_token'] };

/** What each kind of application registers as (RFC 7591 names). */
const presets = {
  web: { ...signsPeopleIn, token_endpoint_auth_method: 'client_secret_basic' },
  spa: { ...signsPeopleIn, token_endpoint_auth_method: 'none' },
  native: { ...signsPeopleIn, token_endpoint_auth_method: 'none', application_type: 'native' },
  service: { grant_types: ['client_credentials'], token_endpoint_auth_method: 'client_secret_basic' },
  device: deviceApp,
};

export function addCreateClient(program: Command): void {
  program
    .command('create-client')
    .description('register an application and print what to paste into it; `clients create` knows every option')
    .argument('<name>', 'as people see it')
    .addOption(
      new Option('--type <type>', 'web: has a server; spa: runs in the browser; native: on a phone or computer')
        .choices(Object.keys(presets))
        .default('web'),
    )
    .option('--redirect-uri <uri>', 'where people come back to; repeatable; for web, spa and native', collect)
    .option('--post-logout-redirect-uri <uri>', 'where people may come back to from signing out; repeatable', collect)
    .option('--scope <scopes>', 'scope, separated by spaces')
    .option('--first-party', "the operator's own application: people are not asked for consent")
    .option('--json', 'print {"issuer", "client_id", "client_secret"?, "registration_access_token", …}')
    .addHelpText(
      'after',
      `
A service speaks for itself, without people. A device is a television or a command line, without a browser.

Examples:
  npm run latchkey -- create-client "Fernwood Library" --redirect-uri https://fernwood.example/callback
  npm run latchkey -- create-client "Nightly Report" --type service
  npm run latchkey -- create-client "Living Room TV" --type device --json`,
    )
    .action(createClient);
}

async function createClient(name: string, options: Options, command: Command): Promise<void> {
  const { type, redirectUri, postLogoutRedirectUri, scope } = options;
  const takesRedirects = type !== 'service' && type !== 'device';
  if (takesRedirects !== (redirectUri !== undefined)) {
    command.error(`error: --type ${type} ${takesRedirects ? 'needs' : 'takes no'} --redirect-uri; see --help`);
  }
  const metadata = {
    ...presets[type],
    client_name: name,
    ...(redirectUri && { redirect_uris: redirectUri }),
    ...(postLogoutRedirectUri && { post_logout_redirect_uris: postLogoutRedirectUri }),
    ...(scope !== undefined && { scope }),
  };
  const trust = { registeredBy: 'operator', firstParty: options.firstParty ?? false, source: operator() } as const;
  const { issuer, registered } = await withClientDependencies(async (db, dependencies, { issuer }) => ({
    issuer,
    registered: await registerClient(db, dependencies, metadata, trust),
  }));
  const { client, clientSecret, registrationAccessToken } = registered;
  const { clientId } = client;
  if (options.json) {
    return printJson({
      issuer,
      client_id: clientId,
      ...(clientSecret !== undefined && { client_secret: clientSecret }),
      registration_access_token: registrationAccessToken,
      ...client.metadata,
    });
  }
  print(`Created ${name}.\n`);
  print(
    formatFields({
      issuer,
      client_id: clientId,
      client_secret: clientSecret,
      registration_access_token: registrationAccessToken,
    }),
  );
  print(`\n${howToUse(type, { issuer, clientId, clientSecret, redirectUri: redirectUri?.[0] })}`);
  print('\nKeep what you need of this now: secret and token are never shown again.');
}

type Facts = { issuer: string; clientId: string; clientSecret: string | undefined; redirectUri: string | undefined };

/** Ready to be pasted: a first request, or the settings that most libraries want. */
function howToUse(type: Type, { issuer, clientId, clientSecret, redirectUri }: Facts): string {
  switch (type) {
    case 'service':
      return `A token:\n\ncurl -u '${clientId}:${clientSecret}' -d grant_type=client_credentials ${issuer}/token`;
    case 'device':
      return `A code for the person, then ask ${issuer}/token for tokens:\n\ncurl -d client_id=${clientId} -d 'scope=openid' ${issuer}/device/auth`;
    default: {
      const lines = [
        `OIDC_ISSUER=${issuer}`,
        `OIDC_CLIENT_ID=${clientId}`,
        ...(clientSecret === undefined ? [] : [`OIDC_CLIENT_SECRET=${clientSecret}`]),
        `OIDC_REDIRECT_URI=${redirectUri}`,
      ];
      return `Settings of the application, for its .env:\n\n${lines.join('\n')}`;
    }
  }
}
