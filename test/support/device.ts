/** A device without a browser (RFC 8628): it asks for a code, shows it, and polls. */
import { sql } from 'drizzle-orm';
import * as client from 'openid-client';
import type { TestApp } from './app.ts';
import type { Page, Person } from './person.ts';
import { discover, type Registration, registerClient } from './relying-party.ts';

export const deviceGrantType = 'urn:ietf:params:oauth:grant-type:device_code';

export type Device = {
  device_code: string;
  user_code: string;
  verification_uri: string;
  verification_uri_complete: string;
  expires_in: number;
  interval: number;
};

/** A public client, as an app on a television is. */
export async function registerDevice(
  app: Pick<TestApp, 'origin' | 'issuer'> & { database?: TestApp['database'] },
  metadata: Record<string, unknown> = {},
  { firstParty = false } = {},
): Promise<Registration> {
  const registration = await registerClient(app, {
    client_name: 'Living Room TV',
    redirect_uris: undefined,
    grant_types: [deviceGrantType, 'refresh_token'],
    token_endpoint_auth_method: 'none',
    ...metadata,
  });
  if (firstParty) {
    const { client_id } = registration;
    await app.database?.db.execute(sql`update oidc_clients set first_party = true where client_id = ${client_id}`);
  }
  return registration;
}

/** The device asks for a code. */
export async function startDevice(
  app: Pick<TestApp, 'issuer'>,
  { client_id }: Registration,
  parameters: Record<string, string> = {},
): Promise<Device> {
  const response = await fetch(`${app.issuer}/device/auth`, {
    method: 'POST',
    body: new URLSearchParams({ client_id, scope: 'openid', ...parameters }),
  });
  const body = await response.json();
  if (response.status !== 200) throw new Error(JSON.stringify(body));
  return body as Device;
}

export type PollAnswer = { status: number } & Record<string, unknown>;

/** The device asks once whether the person has decided. */
export async function pollOnce(
  app: Pick<TestApp, 'issuer'>,
  { client_id }: Registration,
  { device_code }: Pick<Device, 'device_code'>,
): Promise<PollAnswer> {
  const response = await fetch(`${app.issuer}/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: deviceGrantType, client_id, device_code }),
  });
  return { status: response.status, ...((await response.json()) as object) };
}

/** The same through `openid-client`, which waits and polls by itself. */
export async function deviceGrant(app: TestApp, registration: Registration) {
  const { config } = await discover(app, registration);
  return {
    config,
    // Its first poll comes after the interval; the shortest there is.
    poll: (device: client.DeviceAuthorizationResponse) =>
      client.pollDeviceAuthorizationGrant(config, { ...device, interval: 0.1 }),
  };
}

/** The person types the code, or whatever else. */
export async function enterCode(person: Person, typed: string): Promise<Page> {
  return person.submit(await person.open('/oidc/device'), 'device', { user_code: typed }, 'device-submit');
}
