/** The edge example as its reader runs it, in workerd, with a relay between it and the provider that a test can stop. */
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { importJWK, SignJWT } from 'jose';
import { createEncryption } from '../../src/keys/encryption.ts';
import { generateKey, type KeyPair } from '../../src/keys/key-pairs.ts';
import { importKey } from '../../src/keys/key-ring.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { startExample } from '../support/example.ts';
import { endServer, freePort, listen } from '../support/listen.ts';
import { createPerson, type Person } from '../support/person.ts';
import { allow, registerAccount, signIn } from '../support/relying-party.ts';
import type { Running } from '../support/running.ts';

export const tidesApi = 'https://tides.example';
export const cookieName = '__Host-tidewater-session';

type Relay = Awaited<ReturnType<typeof startRelay>>;
export type Edge = {
  app: TestApp;
  relay: Relay;
  origin: string;
  running: Running;
  key: KeyPair;
  close(): Promise<void>;
};

/** Latchkey under the relay's address, with a signing key that the test knows too, and the example beside it. */
export async function startEdge(): Promise<Edge> {
  const relay = await startRelay();
  const app = await startApp({ env: { OIDC_ISSUER: relay.origin } });
  relay.to(app.port);
  const key = await generateKey('ES256');
  await importKey(app.database.db, encryptionOf(app), key);
  await app.app.reload();
  const port = await freePort();
  const running = await startExample('edge', { ...app.env, ISSUER: app.issuer, PORT: String(port) });
  return {
    app,
    relay,
    origin: `http://localhost:${port}`,
    running,
    key,
    async close() {
      await running.stop();
      await relay.close();
      await app.close();
    },
  };
}

export function encryptionOf({ env }: TestApp) {
  return createEncryption([Buffer.from(env.OIDC_ENCRYPTION_KEY ?? '', 'base64')]);
}

/** Tidewater's boxes on the consent page, as the page names them. */
export const boxes = { read: `tides:read ${tidesApi}`, report: `tides:report ${tidesApi}`, lasting: 'offline_access' };

/** As far as the provider sends the browser back with an answer. */
export async function reachCallback(
  { app, origin }: Edge,
  { scopes, from = '/login' }: { scopes?: string[]; from?: string } = {},
) {
  const account = await registerAccount(app);
  const [person, atProvider] = [createPerson(origin), createPerson(app.origin)];
  const { left: toProvider } = await person.open(from);
  const consent = await signIn(atProvider, await atProvider.open(String(toProvider)), account);
  const { left: callback } = await allow(atProvider, consent, scopes);
  return { account, person, atProvider, callback: String(callback) };
}

/** Signs in at the edge with a new account; answers the browser, and where it was led. */
export async function signInAtEdge(edge: Edge, options: Parameters<typeof reachCallback>[1] = {}) {
  const reached = await reachCallback(edge, options);
  return { ...reached, page: await reached.person.open(reached.callback) };
}

/** Another browser with copies of this one's cookies. */
export function copyOf({ origin, jar }: Person): Person {
  const copy = createPerson(origin);
  for (const [name, cookie] of jar) copy.jar.set(name, cookie);
  return copy;
}

/** As a program asks with the cookies of a browser. */
export function askJson(person: Person, path: string): Promise<Response> {
  return person.request(path, { headers: { accept: 'application/json' } });
}

export function askWith(edge: Pick<Edge, 'origin'>, token: string, init: RequestInit = {}): Promise<Response> {
  const path = init.method === 'POST' ? '/resource/readings' : '/resource/tides';
  return fetch(`${edge.origin}${path}`, { ...init, headers: { authorization: `Bearer ${token}` } });
}

/** A token as the provider makes them for the API, unless told otherwise; undefined leaves a claim out. */
export async function makeToken(
  { app, key }: Pick<Edge, 'app' | 'key'>,
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const body = {
    iss: app.issuer,
    aud: tidesApi,
    sub: 'u_ada',
    client_id: 'c_harbour',
    jti: 'one',
    iat: now - 60,
    exp: now + 600,
    scope: 'tides:read tides:report',
    ...claims,
  };
  return new SignJWT(body)
    .setProtectedHeader({ alg: key.alg, typ: 'at+jwt', kid: key.kid, ...header })
    .sign(await importJWK(key.privateJwk, key.alg));
}

async function startRelay() {
  let target = 0;
  let stopped = false;
  const paths: string[] = [];
  /** What it does to answers of the token endpoint. */
  const change: { expiresIn: number | undefined } = { expiresIn: undefined };
  const server = createServer((req, res) => {
    const { method, url = '', headers } = req;
    if (stopped) return void req.socket.destroy();
    paths.push(url);
    const onward = httpRequest({ host: '127.0.0.1', port: target, method, path: url, headers }, async (answer) => {
      const chunks: Buffer[] = [];
      for await (const chunk of answer) chunks.push(chunk as Buffer);
      let body = Buffer.concat(chunks).toString();
      if (url === '/oidc/token' && answer.statusCode === 200 && change.expiresIn !== undefined) {
        body = JSON.stringify({ ...JSON.parse(body), expires_in: change.expiresIn });
      }
      const { 'content-length': _length, 'transfer-encoding': _encoding, ...rest } = answer.headers;
      res.writeHead(answer.statusCode ?? 502, rest).end(body);
    });
    onward.on('error', () => res.destroy());
    req.pipe(onward);
  });
  await listen(server);
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    to(port: number) {
      target = port;
    },
    /** How often this path was asked for. */
    count: (path: string) => paths.filter((each) => each === path).length,
    change,
    /** Nothing is answered while `work` runs. */
    async whileStopped(work: () => Promise<void>) {
      stopped = true;
      server.closeIdleConnections();
      await work().finally(() => {
        stopped = false;
      });
    },
    close: () => endServer(server),
  };
}
