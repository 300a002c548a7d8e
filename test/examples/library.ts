/** examples/web-app beside a Latchkey of its own, which can be cut off; and people who walk in without JavaScript. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { importJWK, type JWTHeaderParameters, type JWTPayload, SignJWT } from 'jose';
import { createEncryption } from '../../src/keys/encryption.ts';
import { keyPurpose, ringKeys } from '../../src/keys/key-ring.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { startExample } from '../support/example.ts';
import { freePort, listen } from '../support/listen.ts';
import { createPerson, type Page, type Person } from '../support/person.ts';
import { allow, signIn } from '../support/relying-party.ts';
import type { Running } from '../support/running.ts';

export type Library = {
  origin: string;
  clientId: string;
  app: TestApp;
  running: Running;
  line: Line;
  close(): Promise<void>;
};
type Account = { email: string; password: string };

/** Starts both. Latchkey is known by the address of a line to it that a test may cut. */
export async function startLibrary(env: Record<string, string> = {}): Promise<Library> {
  const line = await startLine();
  const app = await startApp({ env: { OIDC_ISSUER: `http://localhost:${line.port}`, OUTBOUND_ALLOW: 'localhost' } });
  line.to = app.port;
  const port = await freePort();
  const REGISTRATION_FILE = join(tmpdir(), `library-${randomUUID()}.json`);
  const running = await startExample('web-app', { ISSUER: app.issuer, PORT: String(port), REGISTRATION_FILE, ...env });
  const { client_id: clientId } = JSON.parse(await readFile(REGISTRATION_FILE, 'utf8')) as { client_id: string };
  return {
    origin: `http://localhost:${port}`,
    clientId,
    app,
    running,
    line,
    async close() {
      await running.stop();
      await app.close();
      await line.close();
    },
  };
}

type Line = {
  port: number;
  to: number;
  /** While `work` is done nobody gets through; connections that are open end at once. */
  down(work: () => Promise<void>): Promise<void>;
  /** While `work` is done this word is another one of the same length in all that is sent. */
  garbled<T>(word: string, other: string, work: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
};

async function startLine(): Promise<Line> {
  const sockets = new Set<Socket>();
  let up = true;
  let garble = (chunk: Buffer) => chunk;
  const server = createServer((near) => {
    if (!up) return near.destroy();
    const far = connect(line.to, '127.0.0.1');
    for (const [socket, other] of [[near, far] as const, [far, near] as const]) {
      sockets.add(socket);
      socket
        .on('error', () => {})
        .once('close', () => {
          sockets.delete(socket);
          other.destroy();
        });
    }
    near.on('data', (chunk) => void far.write(garble(chunk)));
    far.pipe(near);
    return undefined;
  });
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const line: Line = {
    port: await listen(server),
    to: 0,
    async down(work) {
      up = false;
      cut();
      await work().finally(() => {
        up = true;
      });
    },
    async garbled(word, other, work) {
      garble = (chunk) => Buffer.from(chunk.toString('latin1').replaceAll(word, other), 'latin1');
      return work().finally(() => {
        garble = (chunk) => chunk;
      });
    },
    async close() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return line;
}

/** Somebody with a browser: what it keeps of the library, and what of Latchkey. */
export function createReader({ origin, app }: Library): { library: Person; latchkey: Person } {
  return { library: createPerson(origin), latchkey: createPerson(app.origin) };
}
export type Reader = ReturnType<typeof createReader>;

/** Opens a page of the library that sends its reader away; answers where to. */
export async function leave({ library }: Reader, path = '/profile'): Promise<string> {
  const { left, status } = await library.open(path);
  if (!left) throw new Error(`${path} sent nobody away but answered ${status}`);
  return left.href;
}

/** Signs in at Latchkey and allows everything, or these scopes; answers the address of the way back, not yet opened. */
export async function answer({ latchkey }: Reader, url: string, account: Account, scopes?: string[]): Promise<string> {
  let page = await latchkey.open(url);
  if (page.html.includes('id="login"')) page = await signIn(latchkey, page, account);
  if (page.html.includes('id="consent"')) page = await allow(latchkey, page, scopes);
  if (!page.left) throw new Error(`ended on a page of Latchkey: ${page.status} ${page.html.slice(0, 1500)}`);
  return page.left.href;
}

/** The whole way from a page of the library to that page. */
export async function visitLibrary(
  reader: Reader,
  account: Account,
  { path = '/profile', scopes }: { path?: string; scopes?: string[] } = {},
): Promise<Page> {
  const back = await answer(reader, await leave(reader, path), account, scopes);
  return reader.library.open(back);
}

/** Whether the library knows this browser, asked in a way that changes nothing. */
export async function isKnown({ library }: Reader): Promise<boolean> {
  return (await library.open('/')).html.includes('Welcome back');
}

export const encryptionOf = ({ env }: TestApp) =>
  createEncryption([Buffer.from(env.OIDC_ENCRYPTION_KEY ?? '', 'base64')]);

/** Signs as Latchkey does now, whatever is said. */
export async function signAsLatchkey(app: TestApp, claims: JWTPayload, header: Partial<JWTHeaderParameters> = {}) {
  const key = (await ringKeys(app.database.db)).find(({ alg, state }) => alg === 'RS256' && state === 'current');
  if (!key?.privateJwkEncrypted) throw new Error('there is no key');
  const jwk = JSON.parse(encryptionOf(app).decrypt(key.privateJwkEncrypted, keyPurpose(key.kid)));
  return new SignJWT(claims)
    .setProtectedHeader({ alg: 'RS256', kid: key.kid, typ: 'logout+jwt', ...header })
    .sign(await importJWK(jwk, 'RS256'));
}
