/** An installation in which something has happened, for tests that carry it elsewhere. */
import { chainEvents } from '../../src/audit/chain.ts';
import { loadAuditKey } from '../../src/keys/audit-key.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import { startApp, type TestApp } from './app.ts';
import { createPerson } from './person.ts';
import { discover, registerAccount, registerClient, signInThrough } from './relying-party.ts';

/** One person signed in at one client, with a refresh token. */
export async function signInSomebody(server: { origin: string; issuer: string }) {
  const account = await registerAccount(server);
  const registration = await registerClient(server);
  const person = createPerson(server.origin);
  const { tokens } = await signInThrough(server, await discover(server, registration), account, {
    person,
    parameters: { scope: 'openid email offline_access', prompt: 'consent' },
  });
  return { account, registration, person, refreshToken: tokens.refresh_token ?? '' };
}

/** A server that was used and is stopped again; its audit log has a chain. The database stays. */
export async function useAndStop(database: { url: string }, use: (app: TestApp) => Promise<void> = async () => {}) {
  const app = await startApp({ database });
  const signedIn = await signInSomebody(app);
  await use(app);
  const encryption = createEncryption([Buffer.from(app.env.OIDC_ENCRYPTION_KEY ?? '', 'base64')]);
  await chainEvents(app.database.db, await loadAuditKey(app.database.db, encryption));
  await app.close();
  return { ...signedIn, env: app.env, encryption, port: app.port };
}
