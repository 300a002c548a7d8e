/** A person with a device, at the server's own endpoints: every answer may be changed on its way. */
import { expect } from 'vitest';
import type { TestApp } from '../support/app.ts';
import { type Answering, createPasskey, type MakingOptions, type SoftPasskey } from '../support/authenticator.ts';
import { createStranger, type Person } from '../support/person.ts';
import { registerAccount } from '../support/relying-party.ts';

export type Account = Awaited<ReturnType<typeof registerAccount>>;

export type Offer = {
  handle: string;
  options: { challenge: string; rpId?: string; userVerification?: string; allowCredentials?: { id: string }[] };
};

/** JSON to the server with a person's cookies. */
export async function send(person: Person, path: string, body: unknown = {}, headers: Record<string, string> = {}) {
  const response = await person.request(path, {
    method: 'POST',
    headers: { accept: 'application/json', 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : undefined };
}

/** Asks for a challenge. */
export async function ask(person: Person, path = '/auth/passkey/options'): Promise<Offer> {
  const { status, body } = await send(person, path);
  expect(status, JSON.stringify(body)).toBe(200);
  return body as Offer;
}

/** A new account, signed in with its password in a browser of its own. */
export async function signedInPerson(app: TestApp): Promise<{ account: Account; person: Person }> {
  const account = await registerAccount(app);
  const person = createStranger(app);
  const { status } = await send(person, '/auth/login', { email: account.email, password: account.password });
  expect(status).toBe(200);
  return { account, person };
}

/** Adds a passkey to the account that is signed in. */
export async function addPasskey(person: Person, passkey: SoftPasskey, said?: MakingOptions) {
  const { handle, options } = (await ask(person, '/account/passkeys/options')) as never as {
    handle: string;
    options: Parameters<SoftPasskey['create']>[0];
  };
  return send(person, '/account/passkeys', { handle, credential: passkey.create(options, said) });
}

/** A new account with a passkey, signed in. */
export async function personWithPasskey(app: TestApp, device: Parameters<typeof createPasskey>[1] = {}) {
  const { account, person } = await signedInPerson(app);
  const passkey = createPasskey(app.origin, device);
  expect((await addPasskey(person, passkey)).status).toBe(201);
  return { account, person, passkey };
}

/** Answers with a passkey as the sign-in page does. */
export async function signInWith(person: Person, passkey: SoftPasskey, said?: Answering) {
  const { handle, options } = await ask(person);
  return send(person, '/auth/login', { handle, credential: passkey.get(options, said) });
}

/** Whether somebody is signed in in this browser. */
export async function isSignedIn(person: Person): Promise<boolean> {
  const response = await person.request('/account');
  await response.body?.cancel();
  return response.status === 200;
}
