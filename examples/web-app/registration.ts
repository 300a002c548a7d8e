/**
 * Chapter 1: the app becomes a client. Before an app may send people to the provider, the two have to know each other: the
 * provider where people may be sent back to, the app its `client_id` and `client_secret`. On a laptop the app registers
 * itself, once (RFC 7591), and looks at each start whether that still holds (RFC 7592). In production the operator
 * registers it and hands over CLIENT_ID and CLIENT_SECRET.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { askProvider } from './ask-provider.ts';
import { baseUrl, giveUp, issuer } from './settings.ts';

export type Client = { client_id: string; client_secret: string };
type Kept = Client & { issuer: string; registration_client_uri: string; registration_access_token: string };

/** What we tell about ourselves. The provider holds us to it. */
const metadata = {
  client_name: 'Fernwood Library',
  redirect_uris: [`${baseUrl}/callback`],
  post_logout_redirect_uris: [`${baseUrl}/signed-out`],
  grant_types: ['authorization_code', 'refresh_token'],
  token_endpoint_auth_method: 'client_secret_basic',
  id_token_signed_response_alg: 'RS256',
  scope: 'openid profile email offline_access',
  // A request of ours is good only if we pushed it ourselves, with PKCE.
  require_pushed_authorization_requests: true,
  require_pkce: true,
  // ID tokens say when the person signed in, which chapter 8 looks at.
  require_auth_time: true,
  // Where we want to be told when a session ends, and which one: chapter 10.
  backchannel_logout_uri: `${baseUrl}/backchannel-logout`,
  backchannel_logout_session_required: true,
};

const file = process.env.REGISTRATION_FILE || new URL('.registration.json', import.meta.url);

export async function findClient(): Promise<Client> {
  const { CLIENT_ID: client_id, CLIENT_SECRET: client_secret } = process.env;
  if (client_id && client_secret) return { client_id, client_secret };
  if (client_id || client_secret) giveUp('CLIENT_ID and CLIENT_SECRET belong together: set both, or none.');
  const kept = await readKept();
  return kept && (await isStillKnown(kept)) ? kept : register();
}

async function register(): Promise<Client> {
  const response = await send('POST', new URL('/clients', issuer).href, metadata);
  if (response.status === 401 || response.status === 403) {
    giveUp(`${issuer} lets no app register itself. The operator does it:

  npm run latchkey -- clients create --metadata '${JSON.stringify(metadata)}'

Then start this app with the CLIENT_ID and CLIENT_SECRET that this prints.`);
  }
  if (response.status !== 201) throw new Error(`registering was refused: ${await response.text()}`);
  const answer = (await response.json()) as Kept;
  // The secret is told this once. Nobody but us may read it.
  await writeFile(file, JSON.stringify({ ...answer, issuer }, null, 2), { mode: 0o600 });
  return answer;
}

/** False when the provider has forgotten us, as one with a new database has. What changed on our side is brought up to date. */
async function isStillKnown(kept: Kept): Promise<boolean> {
  const { registration_client_uri: uri, registration_access_token: token, client_id } = kept;
  const response = await send('GET', uri, undefined, token);
  if (response.status === 401 || response.status === 404) return false;
  const known = (await response.json()) as Record<string, unknown>;
  const wanted = Object.entries(metadata);
  if (response.ok && wanted.every(([name, value]) => isDeepStrictEqual(known[name], value))) return true;
  const changed = await send('PUT', uri, { ...metadata, client_id }, token);
  if (!changed.ok) throw new Error(`changing the registration was refused: ${await changed.text()}`);
  return true;
}

function send(method: string, url: string, body?: object, token?: string): Promise<Response> {
  return askProvider(url, {
    method,
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    ...(body && { body: JSON.stringify(body) }),
  });
}

/** Nothing when there is no such file, or when it is of another provider. */
async function readKept(): Promise<Kept | undefined> {
  try {
    const kept = JSON.parse(await readFile(file, 'utf8')) as Kept;
    return kept.issuer === issuer ? kept : undefined;
  } catch {
    return undefined;
  }
}
