/** Services that exchange tokens, as an operator permits it. */
import { createApi } from '../../src/apis/apis.ts';
import { type ExchangeMode, permitExchange } from '../../src/apis/token-exchange-permissions.ts';
import {
  type Answer,
  issueCode,
  type Parameters,
  post,
  redeem,
  type SignedIn,
  type Tokens,
} from '../security/protocol.ts';
import type { TestApp } from '../support/app.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import { allow, createApis } from './fixture.ts';

export const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token';
export const jwtType = 'urn:ietf:params:oauth:token-type:jwt';

/** Beside invoices and photos an API with JWTs that live longer than the others'. */
export const stock = 'https://stock.example/';

export async function createExchangeApis(app: TestApp): Promise<void> {
  await createApis(app);
  await createApi(app.database.db, {
    identifier: stock,
    name: 'Stock',
    scopes: { look: 'See what there is', take: 'Take what there is' },
    tokenLifetimeSeconds: 3600,
  });
}

/** A service that may exchange, as far as it is permitted, and get tokens of its own. */
export async function createExchanger(
  app: TestApp,
  access: Record<string, string[]>,
  metadata: Record<string, unknown> = {},
): Promise<Registration> {
  const service = await registerClient(app, {
    redirect_uris: undefined,
    grant_types: ['client_credentials', tokenExchange],
    ...metadata,
  });
  await allow(app, service, access);
  return service;
}

export async function permit(
  app: TestApp,
  { client_id: clientId }: Registration,
  subjectApi: string,
  targetApi: string,
  ...modes: ExchangeMode[]
): Promise<void> {
  for (const mode of modes) await permitExchange(app.database.db, { clientId, subjectApi, targetApi, mode });
}

/** A person's tokens, the access token of which is for an API. */
export async function issueFor(
  app: TestApp,
  client: Registration,
  signedIn: SignedIn,
  resource: string,
  scope = 'read',
): Promise<Tokens> {
  const asked = { scope: `openid ${scope} offline_access`, prompt: 'consent', resource };
  const { status, body } = await redeem(app, client, await issueCode(app, client, signedIn, asked), { resource });
  if (status !== 200) throw new Error(`no tokens: ${JSON.stringify(body)}`);
  return body as Tokens;
}

export function exchange(
  app: TestApp,
  client: Pick<Registration, 'client_id' | 'client_secret'>,
  token: string,
  parameters: Parameters = {},
  headers: Record<string, string> = {},
): Promise<Answer> {
  const request = {
    grant_type: tokenExchange,
    subject_token: token,
    subject_token_type: accessTokenType,
    ...parameters,
  };
  return post(app, 'token', request, client, headers);
}
