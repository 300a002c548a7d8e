/**
 * What we ask of client metadata beyond the protocol library's own checks: its validator knows the RFCs, here is what
 * protects people who will see this client's name, links and redirects (RFC 7591 §5, RFC 9700 §4.11.2).
 */
import type { ClientMetadata } from '../db/schema.ts';
import { isVisibleText } from '../http/body.ts';
import { HttpError, type Issue } from '../http/errors.ts';
import { OutboundError } from '../http/outbound.ts';
import { certificateNameIssues } from './certificate-metadata.ts';
import { placeholderSecret } from './client-secret.ts';
import { fapiIssues, withFapiProfile } from './fapi-metadata.ts';
import { isLoopback, redirectUriProblem, webUriProblem } from './redirect-uris.ts';

export type MetadataDependencies = {
  /** The protocol library's validator: metadata with its defaults, or an error with `error` and `error_description`. */
  validate(metadata: ClientMetadata): Promise<ClientMetadata>;
  production: boolean;
  /** Scopes that any client may ask people for. Clients that register themselves may name them. */
  listOpenScopes?(): Promise<readonly string[]>;
};

/**
 * Turns a request body into the metadata to be stored: checked by our rules and the library's, with defaults, unknown
 * members dropped (RFC 7591 §2), without secrets and whatever else has a column of its own.
 * @throws {HttpError} 400 `invalid_redirect_uri`, `invalid_client_metadata` or `unapproved_software_statement`
 */
export async function validateMetadata(
  { validate, production, listOpenScopes }: MetadataDependencies,
  clientId: string,
  body: unknown,
): Promise<ClientMetadata> {
  const checked = checkMetadata(body, production);
  const metadata = listOpenScopes ? await withoutOpenScopes(checked, listOpenScopes) : checked;
  try {
    const valid = await validate({ ...metadata, client_id: clientId, client_secret: placeholderSecret });
    return withoutAssigned(valid);
  } catch (error) {
    throw refusedByLibrary(error);
  }
}

/** True for the methods that authenticate with a secret (OIDC Core §9). */
export function needsSecret({ token_endpoint_auth_method: method }: ClientMetadata): boolean {
  return method === 'client_secret_basic' || method === 'client_secret_post';
}

function refusedByLibrary(cause: unknown): unknown {
  const { error, error_description, status } = cause as { error?: string; error_description?: string; status?: number };
  if (typeof error !== 'string' || status === undefined || status >= 500) return cause;
  // Only the guard's own words go out: other reasons would tell a stranger what answers in which network.
  const reason = cause instanceof Error && cause.cause instanceof OutboundError ? `: ${cause.cause.message}` : '';
  return new HttpError(400, error, `${error_description ?? 'The client metadata is not acceptable.'}${reason}`, {
    cause,
  });
}

function checkMetadata(body: unknown, production: boolean): ClientMetadata {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new HttpError(400, 'invalid_client_metadata', 'Send the client metadata as a JSON object.');
  }
  const metadata = withFapiProfile(withoutAssigned(body as ClientMetadata));
  if (metadata.software_statement !== undefined) {
    throw new HttpError(400, 'unapproved_software_statement', 'Software statements are not accepted here.');
  }
  const issues = [
    ...redirectUriIssues(metadata, production),
    ...displayIssues(metadata, production),
    ...keyIssues(metadata, production),
    ...grantIssues(metadata),
    ...fapiIssues(metadata),
    ...certificateNameIssues(metadata),
  ];
  if (!isStorable(metadata))
    issues.push({ path: '', message: 'the metadata contains characters that cannot be stored' });
  const [first] = issues;
  if (first) throw refusal(first, issues);
  return withDefaults(metadata);
}

/** Null and an empty text mean that the member is left out (RFC 7592 §2.2). */
function withoutAssigned(metadata: ClientMetadata): ClientMetadata {
  const given = Object.entries(metadata).filter(
    ([name, value]) => value !== undefined && value !== null && value !== '' && !assigned.has(name),
  );
  return Object.fromEntries(given);
}

/** Metadata that the server assigns, or that says who vouches for the client; never taken from a request. */
const assigned = new Set([
  ...['client_id', 'client_id_issued_at', 'client_secret', 'client_secret_expires_at'],
  ...['registration_access_token', 'registration_client_uri', 'first_party', 'unverified', 'unused'],
  'authorization_metadata',
  'keys_as_of',
]);

function refusal(first: Issue, issues: Issue[]): HttpError {
  const code = issues.some(({ path }) => /^redirect_uris\b/.test(path))
    ? 'invalid_redirect_uri'
    : 'invalid_client_metadata';
  return new HttpError(400, code, `${first.path} ${first.message}`.trim(), { issues });
}

const maxUris = 50;

function redirectUriIssues(metadata: ClientMetadata, production: boolean): Issue[] {
  const native = metadata.application_type === 'native';
  return ['redirect_uris', 'post_logout_redirect_uris'].flatMap((name) => {
    const uris = metadata[name];
    if (uris === undefined) return [];
    if (!Array.isArray(uris)) return [{ path: name, message: 'must be an array' }];
    if (uris.length > maxUris) return [{ path: name, message: `must have at most ${maxUris} members` }];
    return uris.flatMap((uri, index) => issue(`${name}.${index}`, redirectUriProblem(uri, { production, native })));
  });
}

const maxNameLength = 200;

/** What people are shown: nothing in it may pretend to be something else, and links lead to https. */
function displayIssues(metadata: ClientMetadata, production: boolean): Issue[] {
  const links = ['client_uri', 'logo_uri', 'policy_uri', 'tos_uri'];
  return [
    ...issue('client_name', nameProblem(metadata.client_name)),
    ...links
      .filter((name) => metadata[name] !== undefined)
      .flatMap((name) =>
        issue(
          name,
          webUriProblem(metadata[name], (url) => !production && isLoopback(url)),
        ),
      ),
  ];
}

function nameProblem(name: unknown): string | undefined {
  if (name === undefined) return undefined;
  if (typeof name !== 'string') return 'must be a string';
  if ([...name].length > maxNameLength) return `must have at most ${maxNameLength} characters`;
  if (!isVisibleText(name)) return 'must not contain control or invisible characters';
  if (name.trim() === '') return 'must not be blank';
  return undefined;
}

/** Addresses that this server asks itself must not be open to change on the way; keys must be public ones. */
function keyIssues(metadata: ClientMetadata, production: boolean): Issue[] {
  const fetched = ['jwks_uri', 'sector_identifier_uri', 'backchannel_logout_uri', 'initiate_login_uri'];
  const keys = (metadata.jwks as { keys?: unknown } | undefined)?.keys;
  return [
    ...fetched
      .filter((name) => metadata[name] !== undefined)
      .flatMap((name) =>
        issue(
          name,
          webUriProblem(metadata[name], () => !production),
        ),
      ),
    ...(Array.isArray(keys) ? keys : []).flatMap((key: unknown, index) =>
      issue(`jwks.keys.${index}`, isPublicKey(key) ? undefined : 'must be a public key'),
    ),
  ];
}

const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'];

function isPublicKey(key: unknown): boolean {
  return typeof key === 'object' && key !== null && !privateMembers.some((member) => Object.hasOwn(key, member));
}

/**
 * An MCP client names the scopes of the one server that it registers for, and later asks for more of them, or for
 * `offline_access`. What it may ask of an API is decided there, so its metadata does not keep it (RFC 7591 §3.2.1).
 */
async function withoutOpenScopes(
  { scope, ...metadata }: ClientMetadata,
  listOpenScopes: () => Promise<readonly string[]>,
): Promise<ClientMetadata> {
  if (typeof scope !== 'string') return scope === undefined ? metadata : { ...metadata, scope };
  const open = await listOpenScopes();
  const left = scope.split(' ').filter((name) => !open.includes(name));
  return left.length > 0 ? { ...metadata, scope: left.join(' ') } : metadata;
}

/** RFC 6749 §4.4: client credentials are for clients that have some, and so is what they turn other tokens into. */
function grantIssues({ grant_types, token_endpoint_auth_method }: ClientMetadata): Issue[] {
  if (token_endpoint_auth_method !== 'none' || !Array.isArray(grant_types)) return [];
  const refused = grant_types.find((grant) => confidentialGrants.includes(grant));
  return issue('grant_types', refused && `must not include ${refused} for a public client`);
}

const confidentialGrants = ['client_credentials', 'urn:ietf:params:oauth:grant-type:token-exchange'];

function issue(path: string, message: string | undefined): Issue[] {
  return message === undefined ? [] : [{ path, message }];
}

/** PostgreSQL's JSON holds neither NUL nor half a surrogate pair. */
function isStorable(metadata: ClientMetadata): boolean {
  return !/\\u(0000|d[89a-f])/.test(JSON.stringify(metadata).replaceAll('\\\\', ''));
}

function withDefaults(metadata: ClientMetadata): ClientMetadata {
  const { grant_types: grants, response_types, redirect_uris, scope } = metadata;
  if (grants === undefined && typeof scope === 'string' && scope.split(' ').includes('offline_access')) {
    return { ...metadata, grant_types: ['authorization_code', 'refresh_token'] };
  }
  const redirects = !Array.isArray(grants) || grants.includes('authorization_code') || redirect_uris !== undefined;
  return redirects || response_types !== undefined ? metadata : { ...metadata, response_types: [] };
}
