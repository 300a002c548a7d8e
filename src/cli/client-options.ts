import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';

export type MetadataOptions = {
  name?: string;
  redirectUri?: string[];
  postLogoutRedirectUri?: string[];
  grantType?: string[];
  scope?: string;
  authMethod?: string;
  metadata?: string;
  firstParty?: boolean;
  json?: true;
};

type Metadata = Record<string, unknown>;

export function addMetadataOptions(command: Command): Command {
  return command
    .option('--name <name>', 'client_name, as people see it')
    .option('--redirect-uri <uri>', 'one of redirect_uris; repeatable', collect)
    .option('--post-logout-redirect-uri <uri>', 'one of post_logout_redirect_uris; repeatable', collect)
    .option('--grant-type <type>', 'one of grant_types; repeatable', collect)
    .option('--scope <scopes>', 'scope, separated by spaces')
    .option('--auth-method <method>', 'token_endpoint_auth_method; none makes a public client')
    .option('--metadata <json>', 'any client metadata (RFC 7591) as a JSON object, or @file with one')
    .option('--first-party', "the operator's own application: people are not asked for consent")
    .option('--no-first-party', 'people are asked for consent')
    .option('--json', 'print the client metadata as JSON');
}

function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}

/** What the options say, in RFC 7591 names; an option of its own wins over `--metadata`. */
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
  return { ...(options.metadata && (await readMetadata(options.metadata))), ...Object.fromEntries(given) };
}

async function readMetadata(text: string): Promise<Metadata> {
  const json = text.startsWith('@') ? await readFile(text.slice(1), 'utf8') : text;
  const value = parseJson(json);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error('--metadata takes a JSON object, or @ and the path of a file with one.');
  }
  return value as Metadata;
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
