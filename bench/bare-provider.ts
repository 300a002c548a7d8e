/**
 * The same library with nothing around it: its in-memory adapter, or with DATABASE_URL the plainest PostgreSQL one. What it
 * answers is what Latchkey answers: the same algorithms, lifetimes, grants and scopes. Started by providers.ts.
 */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import bcrypt from 'bcrypt';
import { type ClientMetadata, Provider } from 'oidc-provider';
import { Pool } from 'pg';
import { apis } from './apis.ts';
import { plainAdapter, plainTable } from './plain-adapter.ts';

const { PORT, DATABASE_URL, CLIENTS = '[]', BCRYPT_ROUNDS } = process.env;
const clients = JSON.parse(CLIENTS) as ClientMetadata[];
const issuer = `http://127.0.0.1:${PORT}`;
const pool = DATABASE_URL === undefined ? undefined : new Pool({ connectionString: DATABASE_URL, max: 10 });

type Person = { id: string; email: string; passwordHash: string };
const person: Person = {
  id: 'u_bench',
  email: 'ada@bench.example',
  passwordHash: await bcrypt.hash('correct horse battery', Number(BCRYPT_ROUNDS)),
};

async function findPerson(column: 'id' | 'email', value: string): Promise<Person | undefined> {
  if (!pool) return person[column] === value ? person : undefined;
  const found = await pool.query(`select id, email, password_hash as "passwordHash" from people where ${column} = $1`, [
    value,
  ]);
  return found.rows[0];
}

const jwk = (key: KeyObject, alg: string) => ({ ...key.export({ format: 'jwk' }), alg, use: 'sig', kid: alg }) as never;
const provider = new Provider(issuer, {
  ...(pool ? { adapter: plainAdapter(pool) } : { clients }),
  jwks: {
    keys: [
      jwk(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey, 'RS256'),
      jwk(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, 'ES256'),
    ],
  },
  routes: { userinfo: '/userinfo', introspection: '/introspection' },
  cookies: { keys: ['a secret of the bench, thirty-two characters'] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  scopes: ['openid', 'email', 'offline_access'],
  responseTypes: ['code'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => [],
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource) => {
        const api = apis.find(({ identifier }) => identifier === resource);
        if (!api) throw new Error('unknown resource');
        return {
          scope: api.scope,
          audience: resource,
          accessTokenTTL: 600,
          accessTokenFormat: api.format,
          ...(api.format === 'jwt' && { jwt: { sign: { alg: 'ES256' } } }),
        } as never;
      },
    },
  },
  interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
  issueRefreshToken: async () => true,
  rotateRefreshToken: true,
  findAccount: async (_ctx, sub) => {
    const found = await findPerson('id', sub);
    return (
      found && { accountId: found.id, claims: () => ({ sub: found.id, email: found.email, email_verified: true }) }
    );
  },
  ttl: {
    AccessToken: 3600,
    AuthorizationCode: 60,
    Grant: 1_209_600,
    IdToken: 3600,
    Interaction: 3600,
    RefreshToken: 1_209_600,
    Session: 1_209_600,
  },
});

if (pool) {
  await pool.query(plainTable);
  for (const client of clients) {
    await plainAdapter(pool)('Client').upsert(client.client_id, client as never, undefined as never);
  }
  await pool.query(
    'insert into people values ($1, $2, $3) on conflict (id) do update set password_hash = excluded.password_hash',
    [person.id, person.email, person.passwordHash],
  );
}

/** The least that signs a person in: a form, a password compared, a grant. */
async function interact(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { params, uid } = await provider.interactionDetails(req, res);
  if (req.method === 'GET') {
    res.setHeader('content-type', 'text/html');
    res.end(
      `<form method="post" action="/interaction/${uid}/login"><input name="email"><input name="password"></form>`,
    );
    return;
  }
  const form = new URLSearchParams(await text(req));
  const found = await findPerson('email', form.get('email') ?? '');
  if (!found || !(await bcrypt.compare(form.get('password') ?? '', found.passwordHash))) {
    res.writeHead(401).end();
    return;
  }
  const grant = new provider.Grant({ accountId: found.id, clientId: String(params.client_id) });
  grant.addOIDCScope(String(params.scope));
  const grantId = await grant.save();
  await provider.interactionFinished(req, res, { login: { accountId: found.id, amr: ['pwd'] }, consent: { grantId } });
}

const callback = provider.callback();
createServer((req, res) => {
  if (req.url?.startsWith('/interaction/')) {
    interact(req, res).catch((error: unknown) => res.writeHead(500).end(String(error)));
  } else void callback(req, res);
}).listen(Number(PORT), '127.0.0.1', () => process.stdout.write('ready\n'));
