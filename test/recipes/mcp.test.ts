/** docs/recipes/mcp.md and mcp-client.md: the server and the client printed there, with the SDK's own transport between them. */
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { createApi } from '../../src/apis/apis.ts';
import { oidcClients } from '../../src/db/schema.ts';
import { issueCode, redeem, signedInPerson } from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { tlsCertificate, tlsKey } from '../support/certificate.ts';
import { type Documents, startDocuments } from '../support/documents.ts';
import { freePort } from '../support/listen.ts';
import { createPerson, type Page, type Person, readText } from '../support/person.ts';
import { allow, registerAccount, signIn } from '../support/relying-party.ts';
import { cleanEnvironment, launch } from '../support/running.ts';
import { type Registered, registerAsPrinted } from './pages.ts';
import { openWorkshop, operateAsPrinted, type Workshop } from './printed-code.ts';

type Choices = {
  redirectUrl: string;
  clientMetadataUrl?: string;
  openBrowser(url: URL): void;
  nextCallback(): Promise<URL>;
};
type CallTool = (server: URL, name: string, args?: object) => Promise<{ content: { text: string }[] }>;

const redirectUrl = 'http://127.0.0.1:4711/callback';
const authorities = getCACertificates('default');
let app: TestApp;
let documents: Documents;
let workshop: Workshop;
let createAssistant: (choices: Choices) => CallTool;
let mcp: URL;

beforeAll(async () => {
  setDefaultCACertificates([...authorities, tlsCertificate()]);
  documents = await startDocuments({ tls: { cert: tlsCertificate(), key: tlsKey() } });
  app = await startApp({ env: { CLIENT_ID_METADATA_DOCUMENTS: 'on', OUTBOUND_ALLOW: 'localhost' } });
  mcp = new URL(`http://localhost:${await freePort()}/mcp`);
  await operateAsPrinted('mcp.md', app.env, { 'http://localhost:3600/mcp': mcp.href });
  workshop = await openWorkshop();
  ({ createAssistant } = await workshop.load<{ createAssistant: typeof createAssistant }>(
    'mcp-client.md',
    'client.ts',
  ));
  await startNotes(app.issuer, mcp);
});
afterEach(() => {
  vi.useRealTimers();
});
afterAll(async () => {
  await workshop.close();
  await app.close();
  await documents.close();
  setDefaultCACertificates(authorities);
});

async function startNotes(issuer: string, resource: URL): Promise<void> {
  const program = await workshop.write('mcp.md', 'server.ts');
  const notes = launch([process.execPath, program], {
    ...cleanEnvironment(),
    ISSUER: issuer,
    RESOURCE: resource.href,
  });
  await notes.printed('Notes is ready');
}

/** Somebody at a browser, who signs in when asked and agrees to what is asked; `asked` has what the pages said. */
async function sitDown(choices: Partial<Choices> = {}) {
  const account = await registerAccount(app);
  const person = createPerson(app.origin);
  const asked: string[] = [];
  let answer: Promise<URL>;
  const decide = async (url: URL, how: (person: Person, page: Page) => Promise<Page> = allow): Promise<URL> => {
    let page = await person.open(url.href);
    if (page.html.includes('id="login"')) page = await signIn(person, page, account);
    asked.push(readText(page.html));
    return (await how(person, page)).left as URL;
  };
  const callTool = createAssistant({
    redirectUrl,
    openBrowser: (url) => {
      answer = decide(url);
    },
    nextCallback: () => answer,
    ...choices,
  });
  const say = async (name: string, args?: object) => (await callTool(mcp, name, args)).content[0]?.text;
  return { asked, decide, read: () => say('read_notes'), add: (note: string) => say('add_note', { note }) };
}

test('a client that knows nothing but the address registers itself, asks the person, and works in their name only', async () => {
  const ada = await sitDown();
  expect(await ada.read()).toBe('');
  expect(ada.asked).toHaveLength(1);
  expect(ada.asked[0]).toContain('Read your notes');
  expect(ada.asked[0]).toContain('Unverified');
  expect(ada.asked[0]).not.toContain('Add to your notes');
  const rows = await app.database.db.select().from(oidcClients).where(eq(oidcClients.registeredBy, 'open'));
  expect(rows.map(({ metadata }) => metadata)).toContainEqual(
    expect.objectContaining({ token_endpoint_auth_method: 'none', application_type: 'native' }),
  );

  // The tool that writes needs a scope more: asked for when it is used, and then there for both.
  expect(await ada.add('milk')).toBe('1');
  expect(ada.asked).toHaveLength(2);
  expect(ada.asked[1]).toContain('Add to your notes');
  expect(await ada.read()).toBe('milk');
  expect(await (await sitDown()).read()).toBe('');
});

test('a client is known by its document, over https, and is registered nowhere', async () => {
  const clientMetadataUrl = documents.publish('/client.json', {
    client_name: 'Notes assistant',
    redirect_uris: ['http://127.0.0.1/callback'],
  });
  const ada = await sitDown({ clientMetadataUrl });
  expect(await ada.read()).toBe('');
  expect(ada.asked[0]).toContain(documents.host);
  const [row] = await app.database.db.select().from(oidcClients).where(eq(oidcClients.clientId, clientMetadataUrl));
  expect(row?.registeredBy).toBe('document');
});

test('an expired token is renewed without the person', async () => {
  const ada = await sitDown();
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3600_000 });
  await expect(ada.read()).rejects.toMatchObject({ code: 401 });
  vi.useRealTimers();
  expect(await ada.read()).toBe('');
  expect(ada.asked).toHaveLength(1);
});

describe('the client stops', () => {
  /** What it says when the person's decision comes back changed. */
  async function outcome(change: (ada: Awaited<ReturnType<typeof sitDown>>, asked: URL) => Promise<URL>) {
    let asked: URL;
    const ada = await sitDown({
      openBrowser: (url) => {
        asked = url;
      },
      nextCallback: () => change(ada, asked),
    });
    return ada.read().catch(String);
  }

  test.each<[string, (answer: URLSearchParams) => void]>([
    ['with a state of somebody else', (answer) => answer.set('state', 'forged')],
    ['without a state', (answer) => answer.delete('state')],
    ['of another issuer', (answer) => answer.set('iss', 'https://id.evil.example')],
    ['that names no issuer', (answer) => answer.delete('iss')],
  ])('at an answer %s', async (_, change) => {
    const said = await outcome(async (ada, asked) => {
      const answer = await ada.decide(asked);
      change(answer.searchParams);
      return answer;
    });
    expect(said).toContain('Not an answer to us');
  });

  test('when the person says no', async () => {
    const deny = (person: Person, page: Page) => person.submit(page, 'consent', {}, 'consent-deny');
    expect(await outcome((ada, asked) => ada.decide(asked, deny))).toContain('Refused: access_denied');
  });
});

describe('the server', () => {
  const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
  let client: Registered;
  beforeAll(async () => {
    client = await registerAsPrinted('mcp-client.md', app.env);
  });

  const ask = async (token?: string, message: unknown = list, server = mcp) => {
    const response = await fetch(server, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...(token && { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(message),
    });
    await response.body?.cancel();
    return { status: response.status, challenge: response.headers.get('www-authenticate') ?? '' };
  };

  /** A token that the client registered by the page's command gets for somebody. */
  async function tokenFor(resource: string | undefined, scope: string): Promise<string> {
    const request = { redirect_uri: redirectUrl, resource, scope };
    const issued = await issueCode(app, client, await signedInPerson(app), request);
    return String((await redeem(app, client, issued)).body.access_token);
  }

  test('says where tokens come from when there is none', async () => {
    const { status, challenge } = await ask();
    expect(status).toBe(401);
    expect(challenge).toContain('scope="notes:read"');
    const [, where = ''] = /resource_metadata="([^"]+)"/.exec(challenge) ?? [];
    expect(await (await fetch(where)).json()).toMatchObject({
      resource: mcp.href,
      authorization_servers: [app.issuer],
      scopes_supported: ['notes:read'],
    });
  });

  test('takes a token that was made for it, also from a client that the operator registered', async () => {
    expect(await ask(await tokenFor(mcp.href, 'notes:read'))).toMatchObject({ status: 200 });
  });

  test('refuses with 401 a token for another server, one for userinfo, and what is none', async () => {
    const elsewhere = 'http://localhost:3601/mcp';
    await createApi(app.database.db, {
      identifier: elsewhere,
      name: 'Photos',
      scopes: { 'notes:read': 'Read your photos' },
      anyClient: true,
    });
    const good = await tokenFor(mcp.href, 'notes:read');
    const tokens = [
      await tokenFor(elsewhere, 'notes:read'),
      await tokenFor(undefined, 'openid'),
      `${good}x`,
      good.slice(9),
    ];
    for (const token of tokens) {
      const { status, challenge } = await ask(token);
      expect([token, status]).toEqual([token, 401]);
      expect(challenge).toContain('error="invalid_token"');
      expect(challenge).toContain('resource_metadata=');
    }
  });

  test('refuses with 403 a token with too few scopes, also within a batch, and says which are needed', async () => {
    const write = {
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'add_note', arguments: { note: 'x' } },
    };
    const reader = await tokenFor(mcp.href, 'notes:read');
    for (const message of [write, [write]]) {
      const { status, challenge } = await ask(reader, message);
      expect(status).toBe(403);
      expect(challenge).toContain('error="insufficient_scope"');
      expect(challenge).toContain('scope="notes:read notes:write"');
      expect(challenge).toContain('resource_metadata=');
    }
    const writer = await tokenFor(mcp.href, 'notes:write');
    expect(await ask(writer)).toMatchObject({ status: 403 });
  });

  test('blames no token when the keys cannot be had', async () => {
    const metadata = await (await fetch(`${app.origin}/.well-known/oauth-authorization-server/oidc`)).json();
    const away = await startDocuments();
    const text = JSON.stringify({ ...(metadata as object), jwks_uri: `${away.origin}/oidc/jwks` });
    away.answer('/.well-known/oauth-authorization-server/oidc', (_req, res) => res.end(text));
    const resource = new URL(`http://localhost:${await freePort()}/mcp`);
    await startNotes(`${away.origin}/oidc`, resource);
    await away.close();
    const { status } = await ask(await tokenFor(mcp.href, 'notes:read'), list, resource);
    expect(status).toBe(500);
  });
});
