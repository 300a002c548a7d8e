import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Account } from '../accounts/accounts.ts';
import { type Pages, reference } from '../http/pages.ts';
import type { ClientTile } from '../http/views.ts';
import type { SignedIn } from '../oidc/browser-session.ts';
import type { LostInteraction } from '../oidc/interactions.ts';
import type { ErrorPage, PageSource, RequestFacts } from '../oidc/pages.ts';
import { interruptedPage } from './interrupted-page.ts';

export type ProviderPageDependencies = {
  pages: Pick<Pages, 'html'>;
  clientTile: (clientId: string) => Promise<ClientTile | undefined>;
  findAccount: (accountId: string) => Promise<Account | undefined>;
  describeLost: (uid: string) => Promise<LostInteraction>;
  currentSession: (req: IncomingMessage, res: ServerResponse) => Promise<SignedIn | undefined>;
};

const unknownInteraction: LostInteraction = {
  reason: 'expired',
  clientId: undefined,
  restartPath: undefined,
  byDevice: false,
};

/** The library's own pages (error, sign-out, what it calls a lost session) in the look and words of all others. */
export function providerPages(dependencies: ProviderPageDependencies): PageSource {
  const { pages, clientTile, findAccount } = dependencies;
  const tileOf = async (clientId: string | undefined) => (clientId === undefined ? undefined : clientTile(clientId));

  return {
    async error(page, { res }) {
      // When the database does not answer, asking it for a name would only take as long again.
      const client = page.status === 503 ? undefined : await tileWhenPossible(page.clientId);
      return pages.html('error', { ...errorWords(page, client), ...(client && { client }), ...referenceOf(res) });
    },

    async heldRedirect(page, { res }) {
      const client = await tileOf(page.clientId);
      const host = new URL(page.location).host;
      return pages.html('error', {
        title: `${client?.name ?? 'This app'} sent us something we can’t use`,
        text: [
          `Nobody here has checked who runs this app, so we don’t send you on by ourselves. Go back only if you trust ${host}.`,
        ],
        ...(client && { client }),
        action: { url: page.location, label: `Go back to ${host}` },
        second: { url: '/', label: 'Go to the start page' },
        ...referenceOf(res),
      });
    },

    async interrupted(uid, { req, res }, reason) {
      const known = uid === undefined ? unknownInteraction : await dependencies.describeLost(uid);
      const lost = reason ? { ...known, reason } : known;
      const [client, session] = await Promise.all([tileOf(lost.clientId), dependencies.currentSession(req, res)]);
      return pages.html('interrupted', interruptedPage(lost, client, session !== undefined, referenceOf(res)));
    },

    async logout({ action, secret, clientId, accountId }) {
      const [client, account] = await Promise.all([
        tileOf(clientId),
        accountId === undefined ? undefined : findAccount(accountId),
      ]);
      return pages.html('logout', {
        action,
        hidden: { xsrf: secret },
        ...(client && { client }),
        ...(account && { account: { email: account.email } }),
      });
    },

    async loggedOut({ clientId }, { req, res }) {
      if (await dependencies.currentSession(req, res)) return undefined;
      const client = await tileOf(clientId);
      return pages.html('logged-out', { ...(client && { client }), ...(client?.uri && { continueUrl: client.uri }) });
    },
  };

  /** The page about an outage must not need the database. */
  async function tileWhenPossible(clientId: string | undefined): Promise<ClientTile | undefined> {
    try {
      return await tileOf(clientId);
    } catch {
      return undefined;
    }
  }
}

/** The library runs inside Express, whose answer carries the request id. */
function referenceOf(res: RequestFacts['res']): { reference: string; at: Date } {
  return reference(res as Parameters<typeof reference>[0]);
}

function errorWords(
  { status, error, description }: ErrorPage,
  client: ClientTile | undefined,
): { title: string; text: string[]; action?: { url: string; label: string } } {
  if (status === 404) {
    return {
      title: 'We can’t find that page',
      text: ['Check the address, or start again.'],
      action: { url: '/', label: 'Go to the start page' },
    };
  }
  if (status === 503) {
    return {
      title: 'We can’t do this right now',
      text: ['Part of this service is not answering. Nothing was lost. Wait a moment, then try again.'],
    };
  }
  if (status >= 500) {
    return {
      title: 'Something broke on our side',
      text: ['You did nothing wrong and nothing was shared. Wait a minute, then try again.'],
    };
  }
  return {
    title: `${client?.name ?? 'The app you came from'} sent us something we can’t use`,
    text: [
      'Go back and try again, or tell them the reference below and this:',
      `${error}${description ? `: ${description}` : ''}`,
    ],
    ...(client?.uri && { action: { url: client.uri, label: `Go back to ${client.name}` } }),
  };
}
