import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { checkAuthorizationMetadata } from '../clients/authorization-metadata.ts';

export type MetadataOptions = {
  name?: string;
  redirectUri?: string[];
  postLogoutRedirectUri?: string[];
  grantType?: string[];
  scope?: string;
  authMethod?: string;
  metadata?: string;
  authorizationMetadata?: string;
  device?: true;
  firstParty?: boolean;
  json?: true;
};

type Metadata = Record<string, unknown>;

export function addMetadataOptions(command: Command): Command {
  return command
    .option('--name <name>', 'client_name, as people see it')
    .option('--redirect-uri <uri>', 'one of redirect_uris; repeatable', collect)
    .option('--post-logout-redirect-uri <uri>', 'one of post_logout_redirect_uris; repeatable', collect)
    .option('--grant, --grant-type <type>', 'one of grant_types; repeatable', collect)
    .option('--scope <scopes>', 'scope, separated by spaces')
    .option('--auth-method <method>', 'token_endpoint_auth_method; none makes a public client')
    .option('--device', 'an app on a device without a browser: a public client with the grants it needs')
    .option('--metadata <json>', 'any client metadata (RFC 7591) as a JSON object, or @file with one')
    .option(
      '--authorization-metadata <json>',
      'what its access tokens say about it, as JSON or @file; null takes it away',
    )
    .option('--first-party', "the operator's own application: people are not asked for consent")
    .option('--no-first-party', 'people are asked for consent')
    .option('--json', 'print the client metadata as JSON');
}

export function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}

/** RFC 8628: a television or a command line cannot keep a secret, and is to stay signed in. */
export const deviceApp: Metadata = {
  grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
  token_endpoint_auth_method: 'none',
};

/** What the options say, in RFC 7591 names; an option of its own wins over `--metadata`, and that over `--device`. */
export async function metadataFrom(options: MetadataOptions): Promise<Metadata> {
  const named = {
    client_name: options.name,
    redirect_uris: options.redirectUri,
    post_logout_redirect_uris: options.postLogoutRedirectUri,
    grant_types: options.grantType,
    scope: options.scope,
    token_endpoint_auth_method: options.authMethod,
  };
  const given = Object.entries(named).filter(([, value]) => value !== undefined);
  return {
    ...(options.device && deviceApp),
    ...(options.metadata && (await readMetadata(options.metadata))),
    ...Object.fromEntries(given),
  };
}

async function readMetadata(text: string): Promise<Metadata> {
  const value = await readJson(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error('--metadata takes a JSON object, or @ and the path of a file with one.');
  }
  return value as Metadata;
}

/** What `--authorization-metadata` says, checked; undefined when it was not given. */
export async function authorizationMetadataFrom({ authorizationMetadata: text }: MetadataOptions): Promise<unknown> {
  if (text === undefined) return undefined;
  const value = await readJson(text);
  return value === null ? null : checkAuthorizationMetadata(value);
}

async function readJson(text: string): Promise<unknown> {
  return parseJson(text.startsWith('@') ? await readFile(text.slice(1), 'utf8') : text);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Metadata with changes; null removes. Response types follow the grant types, unless they are named themselves. */
export function metadataOver(current: Metadata, changes: Metadata): Metadata {
  const { response_types, ...rest } = current;
  return { ...rest, ...(changes.grant_types === undefined && { response_types }), ...changes };
}
