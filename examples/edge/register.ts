/**
 * Makes this Worker a client of the provider, once, as any developer may while registration is open (RFC 7591), and
 * remembers what it was told. Later starts ask whether that still holds (RFC 7592).
 */
import { readFile, writeFile } from 'node:fs/promises';

export type Registration = {
  client_id: string;
  client_secret: string;
  registration_access_token: string;
  registration_client_uri: string;
};
type Known = Registration & { redirect_uris: string[] };

export async function register(issuer: string, origin: string, file: string): Promise<Registration> {
  const metadata = {
    client_name: 'Tidewater',
    redirect_uris: [`${origin}/callback`],
    post_logout_redirect_uris: [`${origin}/`],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'client_secret_basic',
    require_pushed_authorization_requests: true,
  };
  const kept = await readFile(file, 'utf8').then(
    (text) => JSON.parse(text) as Registration,
    () => undefined,
  );
  if (kept && new URL(kept.registration_client_uri).origin === new URL(issuer).origin) {
    const known = await call<Known>('GET', kept.registration_client_uri, kept.registration_access_token);
    if (known) {
      if (known.redirect_uris[0] !== metadata.redirect_uris[0]) {
        const body = { ...metadata, client_id: kept.client_id };
        await call('PUT', kept.registration_client_uri, kept.registration_access_token, body);
      }
      return kept;
    }
  }
  const fresh = await call<Registration>('POST', new URL('/clients', issuer).href, undefined, metadata);
  if (!fresh) {
    throw new Error(
      'Registration is not open here. Register the client as its operator; set CLIENT_ID and CLIENT_SECRET.',
    );
  }
  await writeFile(file, JSON.stringify(fresh, null, 2), { mode: 0o600 });
  return fresh;
}

/** Undefined when the provider does not know the token, or wants one. */
async function call<Answer>(method: string, url: string, token?: string, body?: object): Promise<Answer | undefined> {
  const response = await fetch(url, {
    method,
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    signal: AbortSignal.timeout(10_000),
    ...(body && { body: JSON.stringify(body) }),
  });
  if ([401, 403, 404].includes(response.status)) return undefined;
  if (!response.ok) throw new Error(`${method} ${url} answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as Answer;
}
