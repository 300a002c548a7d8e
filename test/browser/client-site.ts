/** A client's own web site, on another site than the provider: a small server that signs people in by openid-client. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as client from 'openid-client';
import { discover, registerClient } from '../support/relying-party.ts';

export type ClientSite = { origin: string; name: string; clientId: string; close(): Promise<void> };

type Server = { origin: string; issuer: string };
type Visit = { accessToken: string; idToken: string; sub: string };

/**
 * Registers the client and serves it at `http://<label>.localhost`, which browsers take for this machine. `/` tells who is
 * signed in, asking userinfo each time; `/sign-in` adds its query to the authorization request.
 */
export async function startClientSite(
  server: Server,
  name: string,
  metadata: Record<string, unknown> = {},
): Promise<ClientSite> {
  const http = createServer();
  http.listen(0);
  await once(http, 'listening');
  const label = name.toLowerCase().replaceAll(' ', '-');
  const origin = `http://${label}.localhost:${(http.address() as AddressInfo).port}`;
  const registration = await registerClient(server, {
    client_name: name,
    redirect_uris: [`${origin}/callback`],
    post_logout_redirect_uris: [`${origin}/signed-out`],
    ...metadata,
  });
  const rp = await discover(server, registration);
  const requests = new Map<string, Awaited<ReturnType<typeof rp.start>>>();
  const visits = new Map<string, Visit>();

  http.on('request', async (req, res) => {
    try {
      await answer(req, res);
    } catch (error) {
      show(res, error instanceof client.AuthorizationResponseError ? `Refused: ${error.error}` : String(error));
    }
  });

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = new URL(req.url ?? '/', origin);
    const cookie = /visit=([\w-]+)/.exec(req.headers.cookie ?? '')?.[1] ?? '';
    const visit = visits.get(cookie);
    switch (url.pathname) {
      case '/':
        return show(res, visit ? await whoIsThere(cookie, visit) : 'Nobody is signed in');
      case '/sign-in': {
        const request = await rp.start({ redirect_uri: `${origin}/callback`, ...Object.fromEntries(url.searchParams) });
        requests.set(request.state, request);
        return go(res, request.url);
      }
      case '/callback':
        return takeResponse(req.method === 'POST' ? new URL(`?${await readBody(req)}`, url) : url, res);
      case '/sign-out':
        return go(res, signOutUrl(visit).href);
      case '/signed-out':
        visits.delete(cookie);
        return show(res, `Goodbye, state ${url.searchParams.get('state')}`);
      default:
        res.writeHead(204).end();
    }
  }

  async function whoIsThere(cookie: string, { accessToken, sub }: Visit): Promise<string> {
    try {
      return `Signed in as ${(await rp.userinfo(accessToken, sub)).name}`;
    } catch (error) {
      if (!(error instanceof client.WWWAuthenticateChallengeError)) throw error;
      visits.delete(cookie);
      return 'Nobody is signed in';
    }
  }

  /** Finishes the request that the response names by its state; a state we never sent is refused. */
  async function takeResponse(response: URL, res: ServerResponse): Promise<void> {
    const request = requests.get(response.searchParams.get('state') ?? '');
    if (!request) return show(res, 'Unknown state');
    const tokens = await request.finish(response);
    const cookie = randomBytes(16).toString('hex');
    visits.set(cookie, {
      accessToken: tokens.access_token,
      idToken: tokens.id_token ?? '',
      sub: tokens.claims()?.sub ?? '',
    });
    res.setHeader('set-cookie', `visit=${cookie}; Path=/; HttpOnly; SameSite=Lax`);
    go(res, `${origin}/`);
  }

  function signOutUrl(visit: Visit | undefined): URL {
    return client.buildEndSessionUrl(rp.config, {
      post_logout_redirect_uri: `${origin}/signed-out`,
      state: 'bye',
      ...(visit && { id_token_hint: visit.idToken }),
    });
  }

  function show(res: ServerResponse, who: string): void {
    res.writeHead(200, { 'content-type': 'text/html', 'cache-control': 'no-store' }).end(
      `<!doctype html><html lang="en"><title>${name}</title><h1>${name}</h1><p id="who">${who}</p>
       <a href="/sign-in">Sign in</a> <a href="/sign-out">Sign out</a>`,
    );
  }

  return {
    origin,
    name,
    clientId: registration.client_id,
    async close() {
      http.closeAllConnections();
      http.close();
      await once(http, 'close');
    },
  };
}

function go(res: ServerResponse, location: string): void {
  res.writeHead(303, { location }).end();
}

async function readBody(req: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of req) body += chunk;
  return body;
}
