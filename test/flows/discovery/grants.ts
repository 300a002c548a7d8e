/** Each grant type gives tokens that work. */
import { expect } from 'vitest';
import { expectRefused, expectTokens } from '../../conformance/expectations.ts';
import { type Client, post } from '../../conformance/http.ts';
import { allow } from '../../support/relying-party.ts';
import { tokenExchange } from './apis.ts';
import { expectJson, type Members, type World } from './world.ts';

export const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code';

export const grants: Members = {
  grant_types_supported: {
    async authorization_code(world) {
      expectJson(await world.userinfo((await world.signIn()).tokens.access_token));
    },
    async refresh_token(world) {
      const { tokens } = await world.signIn({ scope: 'openid offline_access', prompt: 'consent' });
      const refreshed = await world.token({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token });
      expectJson(await world.userinfo(expectTokens(refreshed).access_token));
    },
    async client_credentials(world) {
      const client = await world.register({ grant_types: ['client_credentials'], redirect_uris: undefined });
      const { access_token } = expectTokens(await world.token({ grant_type: 'client_credentials' }, client));
      expect(expectJson(await world.introspect(access_token, client))).toMatchObject({ client_id: client.client_id });
    },
    ...tokenExchange,
    async [deviceGrant](world) {
      const client = await deviceClient(world);
      const { device_code, verification_uri_complete } = await startDevice(world, client);
      const poll = () => world.token({ grant_type: deviceGrant, device_code }, client);
      expectRefused(await poll(), ['authorization_pending']);
      await approve(world, verification_uri_complete);
      expectJson(await world.userinfo(expectTokens(await poll()).access_token));
    },
  },
  device_authorization_endpoint: async (world) => {
    const answer = await startDevice(world, await deviceClient(world));
    expect(answer).toMatchObject({ device_code: expect.any(String), expires_in: expect.any(Number) });
    const page = await world.person.open(answer.verification_uri);
    expect(page.html).toContain('id="device"');
  },
};

function deviceClient(world: World): Promise<Client> {
  return world.once('device client', () =>
    world.register({ token_endpoint_auth_method: 'none', grant_types: [deviceGrant], redirect_uris: undefined }),
  );
}

/** RFC 8628 §3.2. */
type DeviceAuthorization = Record<'device_code' | 'verification_uri' | 'verification_uri_complete', string>;

async function startDevice(world: World, client: Client): Promise<DeviceAuthorization> {
  const endpoint = String(world.metadata.device_authorization_endpoint);
  return expectJson(await post(endpoint, { scope: 'openid' }, client)) as DeviceAuthorization;
}

/** The person follows the address that the device shows, and allows what it asks. */
async function approve({ person }: World, uri: string): Promise<void> {
  let page = await person.open(uri);
  page = await person.submit(page, 'device-confirm', {}, 'device-approve');
  if (page.html.includes('id="consent"')) page = await allow(person, page);
  expect(page.status).toBe(200);
}
