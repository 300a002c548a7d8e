import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Account } from '../accounts/accounts.ts';
import type { Pages } from '../http/pages.ts';
import type { ClientTile, Problem } from '../http/views.ts';
import type { SignedIn } from '../oidc/browser-session.ts';
import type { CodeProblem, DevicePageSource } from '../oidc/device-flow.ts';
import { anotherAccount } from '../oidc/device-prompts.ts';
import { scopeTitles } from './consent-page.ts';

export type DevicePageDependencies = {
  pages: Pick<Pages, 'html'>;
  clientTile: (clientId: string) => Promise<ClientTile | undefined>;
  findAccount: (accountId: string) => Promise<Account | undefined>;
  currentSession: (req: IncomingMessage, res: ServerResponse) => Promise<SignedIn | undefined>;
};

/** The pages of the device flow (RFC 8628 §3.3): the code, what is about to be connected, and what came of it. */
export function devicePages({
  pages,
  clientTile,
  findAccount,
  currentSession,
}: DevicePageDependencies): DevicePageSource {
  return {
    async code({ action, secret, typed, problem }) {
      const said = problem && words[problem];
      const code = { value: typed, wrong: said?.wrong };
      return pages.html('device', { action, code, problem: said, hidden: { xsrf: secret } });
    },

    async confirm({ action, secret, userCode, clientId, accountId, scopes, apis, elsewhere }) {
      const [client, account] = await Promise.all([
        clientTile(clientId),
        accountId === undefined ? undefined : findAccount(accountId),
      ]);
      const apiScopes = Object.fromEntries(apis.map((api) => [api.identifier, Object.keys(api.scopes)]));
      return pages.html('device-confirm', {
        action,
        // The answer goes to the device; an address that the client has besides would only mislead.
        client: { ...(client ?? { name: clientId, unverified: true }), host: undefined },
        userCode,
        scopes: scopeTitles(scopes, apiScopes, apis),
        ...(account && { account: { email: account.email, another: anotherAccount } }),
        elsewhere,
        hidden: { xsrf: secret, user_code: userCode },
      });
    },

    async ended({ outcome, clientId }, { req, res }) {
      const [client, session] = await Promise.all([
        clientId === undefined ? undefined : clientTile(clientId),
        currentSession(req, res),
      ]);
      return pages.html('device-ended', { outcome, ...(client && { client }), signedIn: session !== undefined });
    },
  };
}

/** What is wrong with a code, and beside the field what to do about it. */
const words: Record<CodeProblem, Problem & { wrong?: string }> = {
  missing: { title: 'Something is missing.', wrong: 'Enter the code your device shows.' },
  unknown: { title: 'We don’t know that code.', wrong: 'Check it against your screen.' },
  expired: { title: 'That code has run out.', wrong: 'Let your device show a new one, and enter that.' },
  used: {
    title: 'That code was used already.',
    wrong: 'If your device isn’t connected, let it show a new one, and enter that.',
  },
  stale: {
    title: 'Nothing was done yet.',
    text: 'This page was open for a long time, or in two tabs. Keeps happening? Allow cookies for this site.',
    wrong: 'Check the code once more and continue.',
  },
  throttled: { title: 'Too many tries.', text: 'Wait 15 minutes, then try again.' },
};
