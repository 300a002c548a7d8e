/** The relying party's own requests, kept raw beside their answers. */

/** A client as registered. `authenticate` replaces the secret methods: assertions, certificates, proofs. */
export type Client = {
  client_id: string;
  client_secret?: string;
  token_endpoint_auth_method: string;
  authenticate?: (request: { url: string; body: URLSearchParams; headers: Headers }) => Promise<void> | void;
} & Record<string, unknown>;

/** Parameters of a request; an undefined one is left out. */
export type Fields = Record<string, string | undefined>;

/** An answer to the relying party itself, with the request that it answers. */
export type Answer = {
  request: { method: string; url: string; headers: Headers; body: string };
  status: number;
  headers: Headers;
  text: string;
  /** Empty when the answer is not JSON. */
  json: Record<string, unknown>;
};

/** A form post by the relying party itself, authenticated as the client when one is given. */
export async function post(
  url: string,
  parameters: Fields,
  client?: Client,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const request = { url, body: new URLSearchParams(given(parameters)), headers: new Headers(headers) };
  if (client) await authenticate(client, request);
  request.headers.set('content-type', 'application/x-www-form-urlencoded');
  return send(url, { method: 'POST', headers: request.headers, body: request.body.toString() });
}

async function authenticate(
  client: Client,
  request: { url: string; body: URLSearchParams; headers: Headers },
): Promise<void> {
  const { client_id, client_secret = '', token_endpoint_auth_method } = client;
  if (client.authenticate) return client.authenticate(request);
  if (token_endpoint_auth_method === 'client_secret_basic') {
    const pair = `${encodeURIComponent(client_id)}:${encodeURIComponent(client_secret)}`;
    request.headers.set('authorization', `Basic ${Buffer.from(pair).toString('base64')}`);
    return;
  }
  request.body.set('client_id', client_id);
  if (token_endpoint_auth_method === 'client_secret_post') request.body.set('client_secret', client_secret);
}

/** Any other request by the relying party itself. */
export async function send(
  url: string,
  init: { method?: string; headers?: Headers | Record<string, string>; body?: string } = {},
): Promise<Answer> {
  const request = { method: 'GET', body: '', ...init, url, headers: new Headers(init.headers) };
  const response = await fetch(url, { ...init, redirect: 'manual' });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json');
  return { request, status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : {} };
}

export function given(parameters: Fields): Record<string, string> {
  return Object.fromEntries(
    Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
