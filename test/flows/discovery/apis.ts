/** Tokens for APIs: rich authorization requests for registered types (RFC 9396), and exchange (RFC 8693). */
import { decodeJwt } from 'jose';
import { expect } from 'vitest';
import { createApi } from '../../../src/apis/apis.ts';
import { createAuthorizationDetailsType } from '../../../src/apis/authorization-details-types.ts';
import { allowApi } from '../../../src/apis/client-access.ts';
import { permitExchange } from '../../../src/apis/token-exchange-permissions.ts';
import { expectCode, expectTokens } from '../../conformance/expectations.ts';
import { authorize, redeem } from '../../conformance/harness.ts';
import type { TestApp } from '../../support/app.ts';
import { readCheckboxes } from '../../support/person.ts';
import type { Exerciser, Members } from './world.ts';

const ledger = 'https://ledger.example';
const archive = 'https://archive.example';

/** What an operator sets up before a client can ask for it. */
export async function createApis({ app, database: { db } }: TestApp): Promise<void> {
  await createApi(db, { identifier: ledger, name: 'Ledger', scopes: { 'entries:read': 'Read entries' } });
  await createApi(db, { identifier: archive, name: 'Archive', scopes: { 'files:read': 'Read files' } });
  const payment = { type: 'payment', apiIdentifier: ledger, title: 'Make a payment', fields: ['amount'] };
  await createAuthorizationDetailsType(db, payment);
  await app.reload();
}

export const apis: Members = {
  authorization_details_types_supported: {
    async payment(world) {
      const client = await world.register({ authorization_details_types: ['payment'] });
      await allowApi(world.app.database.db, client.client_id, ledger, { scopes: ['entries:read'] });
      const details = [{ type: 'payment', amount: '12.50' }];
      const request = world.request({ authorization_details: JSON.stringify(details), resource: ledger }, client);
      const answer = await authorize(world, request.parameters, {
        person: world.person,
        async answer(page) {
          const ticked = Object.keys(readCheckboxes(page.html, 'detail'));
          if (ticked.length === 0) return undefined;
          return world.person.submit(page, 'consent', { detail: ticked }, 'consent-approve');
        },
      });
      const tokens = await redeem(world, request, expectCode(world, request, answer), { resource: ledger });
      expect(tokens.json).toMatchObject({ authorization_details: details });
      expect(decodeJwt(expectTokens(tokens).access_token)).toMatchObject({ authorization_details: details });
    },
  },
};

export const tokenExchange: Record<string, Exerciser> = {
  async 'urn:ietf:params:oauth:grant-type:token-exchange'(world) {
    const grant = 'urn:ietf:params:oauth:grant-type:token-exchange';
    const { db } = world.app.database;
    const client = await world.register({ grant_types: ['client_credentials', grant], redirect_uris: undefined });
    await allowApi(db, client.client_id, ledger, { scopes: ['entries:read'] });
    await allowApi(db, client.client_id, archive, { scopes: ['files:read'] });
    await permitExchange(db, {
      clientId: client.client_id,
      subjectApi: ledger,
      targetApi: archive,
      mode: 'impersonation',
    });
    const credentials = { grant_type: 'client_credentials', scope: 'entries:read', resource: ledger };
    const { access_token: subject_token } = expectTokens(await world.token(credentials, client));
    const subject_token_type = 'urn:ietf:params:oauth:token-type:access_token';
    const asked = { grant_type: grant, subject_token, subject_token_type, resource: archive, scope: 'files:read' };
    const answer = await world.token(asked, client);
    expect(answer.json.issued_token_type).toBe(subject_token_type);
    expect(decodeJwt(expectTokens(answer).access_token)).toMatchObject({ aud: archive, scope: 'files:read' });
  },
};
