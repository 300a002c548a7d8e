/**
 * Chapter 2: becoming a client (RFC 7591, RFC 7592). Once, and then only a question at each start whether the client
 * is still there. In production the operator registers it, and `CLIENT_ID` says which it is.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

type Registration = { client_id: string; registration_access_token: string; registration_client_uri: string };

const keptIn = process.env.REGISTRATION_FILE ?? join(import.meta.dirname, '.registration.json');

/** What the provider is told about this app. */
const metadata = (origin: string) => ({
  client_name: 'Lamplight',
  redirect_uris: [`${origin}/callback`],
  post_logout_redirect_uris: [`${origin}/signed-out`],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  scope: 'openid profile email offline_access',
  // A public client: what runs in a browser cannot keep a secret. PKCE is then required.
  token_endpoint_auth_method: 'none',
  // Every token of this client is bound to a key (RFC 9449 §5.2). With the nonce, nobody can make proofs for later.
  dpop_bound_access_tokens: true,
  dpop_require_nonce: true,
  id_token_signed_response_alg: 'ES256',
});

/**
 * The client id of this app at the provider, which is asked for its metadata first.
 * @throws {Error} with a line for whoever started this, when the provider is not there or does not take the client
 */
export async function clientIdFor(issuer: string, origin: string): Promise<string> {
  const { protocol, hostname } = URL.canParse(issuer) ? new URL(issuer) : {};
  if (protocol !== 'https:' && !['localhost', '127.0.0.1', '[::1]'].includes(hostname ?? '')) {
    throw new Error(`ISSUER must be https, unless it is on this machine: ${issuer}`);
  }
  const discovery = await ask(`${issuer}/.well-known/openid-configuration`);
  const { issuer: named } = discovery.ok ? ((await discovery.json().catch(() => ({}))) as { issuer?: unknown }) : {};
  if (named !== issuer) throw new Error(`${issuer} answers, but is not that issuer. Is ISSUER right?`);
  return process.env.CLIENT_ID ?? (await registeredBefore(issuer, origin)) ?? (await register(issuer, origin));
}

/** The client that was registered at an earlier start; undefined when there is none, or the provider forgot it. */
async function registeredBefore(issuer: string, origin: string): Promise<string | undefined> {
  const text = await readFile(keptIn, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const kept = JSON.parse(text) as Registration;
  // The token goes to the provider that gave it, and to nobody else.
  if (new URL(kept.registration_client_uri).origin !== new URL(issuer).origin) return undefined;

  const headers = { authorization: `Bearer ${kept.registration_access_token}`, 'content-type': 'application/json' };
  const answer = await ask(kept.registration_client_uri, { headers });
  if (!answer.ok) return undefined;
  const { redirect_uris } = (await answer.json()) as { redirect_uris?: string[] };
  if (redirect_uris?.includes(`${origin}/callback`)) return kept.client_id;

  // Another PORT than last time: an update replaces everything, so everything is said again.
  const body = JSON.stringify({ client_id: kept.client_id, ...metadata(origin) });
  const updated = await ask(kept.registration_client_uri, { method: 'PUT', headers, body });
  if (!updated.ok) throw new Error(`The provider did not take the new address: ${await updated.text()}`);
  return kept.client_id;
}

async function register(issuer: string, origin: string): Promise<string> {
  const answer = await ask(new URL('/clients', issuer).href, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(metadata(origin)),
  });
  if (answer.status !== 201) {
    throw new Error(`The provider did not register this app. Register it and set CLIENT_ID: ${await answer.text()}`);
  }
  const registration = (await answer.json()) as Registration;
  await writeFile(keptIn, JSON.stringify(registration, null, 2), { mode: 0o600 });
  return registration.client_id;
}

async function ask(url: string, init: RequestInit = {}): Promise<Response> {
  try {
    return await fetch(url, { ...init, redirect: 'error', signal: AbortSignal.timeout(10_000) });
  } catch {
    throw new Error(`Latchkey does not answer at ${url}. Start it with \`npm start\`, or set ISSUER to where it is.`);
  }
}
