import { expect, test } from 'vitest';
import { findDeviceForPassword, findKnownDevice, knownDeviceCookie } from '../../src/accounts/known-device.ts';

const config = { cookieSecrets: ['a secret of at least thirty-two characters'], secure: false };
const ada = 'ada@moreno.example';

function cookieAfter(emails: string[], secure = false): string {
  return emails.reduce((header, email) => {
    const { name, value } = knownDeviceCookie({ ...config, secure }, header, email);
    return `${name}=${value}`;
  }, '');
}

test('a browser is known for the account that signed in there, however the address is typed, and for no other', () => {
  const cookie = `other=1; ${cookieAfter([ada])}; last=2`;
  const device = findKnownDevice(config, cookie, ada);
  expect(device).toMatch(/^[\w-]{22}$/);
  expect(findKnownDevice(config, cookie, ' ADA@Moreno.example ')).toBe(device);
  expect(findKnownDevice(config, cookie, 'eve@moreno.example')).toBeUndefined();
  expect(findKnownDevice(config, undefined, ada)).toBeUndefined();
});

test('a mark cannot be made or changed without the secret', () => {
  const cookie = cookieAfter([ada]);
  expect(
    findKnownDevice({ ...config, cookieSecrets: ['another secret of thirty-two characters'] }, cookie, ada),
  ).toBeUndefined();
  const forged = cookie.replace(/=(.)/, (_, first: string) => `=${first === 'A' ? 'B' : 'A'}`);
  expect(findKnownDevice(config, forged, ada)).toBeUndefined();
  expect(findKnownDevice(config, 'latchkey-device=~~.~x', ada)).toBeUndefined();
});

test('a mark outlives a rotation of the secret and is signed anew at the next sign-in', () => {
  const old = cookieAfter([ada]);
  const rotated = { ...config, cookieSecrets: ['the newest secret of thirty-two letters', ...config.cookieSecrets] };
  const device = findKnownDevice(rotated, old, ada);
  expect(device).toBeDefined();
  const { name, value } = knownDeviceCookie(rotated, old, ada);
  const fresh = { ...config, cookieSecrets: rotated.cookieSecrets.slice(0, 1) };
  expect(findKnownDevice(fresh, `${name}=${value}`, ada)).toBe(device);
});

test('a reset by mail makes a browser known for passwords alone, until somebody has signed in there (SECURITY 53)', () => {
  const after = (cookie: string | undefined, proof: 'reset' | 'sign-in') => {
    const { name, value } = knownDeviceCookie(config, cookie, ada, proof);
    return `${name}=${value}`;
  };
  const reset = after(undefined, 'reset');
  const device = findDeviceForPassword(config, reset, ada);
  expect(device).toMatch(/^[\w-]{22}$/);
  expect(findKnownDevice(config, reset, ada)).toBeUndefined();
  const signedIn = after(reset, 'sign-in');
  expect([findKnownDevice(config, signedIn, ada), findDeviceForPassword(config, signedIn, ada)]).toEqual([
    device,
    device,
  ]);
  expect(findKnownDevice(config, after(signedIn, 'reset'), ada), 'which a later reset does not take back').toBe(device);
});

test('five accounts are remembered, the latest ones, and the cookie names none of them', () => {
  const people = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => `${name}@moreno.example`);
  const cookie = cookieAfter(people);
  expect(people.map((email) => findKnownDevice(config, cookie, email) !== undefined)).toEqual([
    false,
    true,
    true,
    true,
    true,
    true,
  ]);
  expect(cookie).not.toContain('moreno');
  expect(cookie.length).toBeLessThan(500);
});

test('it is HttpOnly and SameSite everywhere, Secure with a prefix on https alone', () => {
  expect(knownDeviceCookie(config, undefined, ada)).toMatchObject({
    name: 'latchkey-device',
    options: { httpOnly: true, sameSite: 'lax', secure: false, path: '/' },
  });
  expect(knownDeviceCookie({ ...config, secure: true }, undefined, ada)).toMatchObject({
    name: '__Host-latchkey-device',
    options: { httpOnly: true, sameSite: 'lax', secure: true, path: '/' },
  });
});
