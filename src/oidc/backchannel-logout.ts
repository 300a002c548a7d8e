/**
 * OIDC Back-Channel Logout 1.0: clients are told that a session ended. Who is to be told is stored with the end
 * (session-end.ts); here the tokens are delivered, at least once each, by whichever instance comes first. Nobody waits
 * for it, and a client that is slow or down holds back no other.
 */
import type { Provider } from 'oidc-provider';
import type { Logger } from 'pino';
import { type Database, reasonOf } from '../db/database.ts';
import type { Background } from '../lib/background.ts';
import { workOff } from '../lib/work-off.ts';
import { claimDueLogouts, type DueLogout, finishLogout, maxAttempts, retryAfterSeconds } from './logout-queue.ts';
import type { ProviderHandle } from './provider.ts';

export type LogoutDeliveryDependencies = {
  db: Database;
  provider: Pick<ProviderHandle, 'current'>;
  background: Background;
  log: Logger;
};

const pollMs = 5_000;
const atOnce = 20;
const atOnceOfOneHost = 3;

/** With 400 a client says that it could not log the session out (§2.8): asked again, but not for a day. */
const maxAttemptsWhenRefused = 3;

type TellableClient = {
  backchannelLogoutUri?: string;
  sendLogoutToken(sub: string, sid: string | null): Promise<void>;
};

/**
 * The library sends logout tokens while the person waits, and forgets them when it cannot. So what it calls does nothing
 * here, and what it does is kept for our own delivery: a token made for each attempt, signed, sent through the guard.
 */
export function keepLogoutTokensForDelivery(provider: Provider): void {
  const client = provider.Client.prototype as { backchannelLogout?: unknown; sendLogoutToken?: unknown };
  client.sendLogoutToken = client.backchannelLogout;
  client.backchannelLogout = async () => {};
}

/** Starts delivering; call `wake` when something was queued and is committed. */
export function logoutDelivery({ db, provider, background, log }: LogoutDeliveryDependencies): { wake(): void } {
  const queue = workOff<DueLogout>(background, {
    looking: 'finding logouts to deliver',
    working: 'delivering a logout',
    everyMs: pollMs,
    atOnce,
    take(limit, underWay) {
      const hosts = underWay.map(({ host }) => host);
      const fullHosts = hosts.filter((host) => hosts.filter((other) => other === host).length >= atOnceOfOneHost);
      return claimDueLogouts(db, { limit, perHost: atOnceOfOneHost, fullHosts });
    },
    work: deliver,
  });

  async function deliver(logout: DueLogout): Promise<void> {
    const { clientId, attempts } = logout;
    const note = { client_id: clientId, attempts };
    const failure = await send(logout).catch(failureOf);
    if (!failure) {
      await finishLogout(db, logout, 'logout.delivered');
      log.info(note, 'back-channel logout delivered');
    } else if (attempts >= failure.tries) {
      await finishLogout(db, logout, 'logout.given-up', { reason: failure.reason });
      log.warn({ ...note, reason: failure.reason }, 'back-channel logout given up');
    } else {
      const retry_after = retryAfterSeconds[attempts - 1];
      log.info({ ...note, reason: failure.reason, retry_after }, 'back-channel logout failed');
    }
  }

  async function send({ clientId, accountId, sid }: DueLogout): Promise<Failure | undefined> {
    const client = (await provider.current.Client.find(clientId)) as TellableClient | undefined;
    if (!client?.backchannelLogoutUri) return { reason: 'not asked for any more', tries: 0 };
    await client.sendLogoutToken(accountId, sid);
    return undefined;
  }

  return queue;
}

/** Why it failed, and how many attempts it is worth. */
type Failure = { reason: string; tries: number };

/** No path or query of the address is named: a client may have put a secret there. */
function failureOf(error: unknown): Failure {
  const status = (error as { response?: Response }).response?.status;
  if (status === undefined) return { reason: reasonOf(error), tries: maxAttempts };
  return { reason: `answered ${status}`, tries: status === 400 ? maxAttemptsWhenRefused : maxAttempts };
}
