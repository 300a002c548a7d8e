import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  nextSignInStep,
  progressCookie,
  progressMinutes,
  readProgress,
  type SignInState,
  withSecondFactor,
} from '../../src/accounts/sign-in-progress.ts';
import { createEncryption } from '../../src/keys/encryption.ts';

afterEach(() => {
  vi.useRealTimers();
});

describe('what comes next', () => {
  const password: SignInState = { amr: ['pwd'], twoStep: false, remembered: false, passwordExpired: false };
  const twoStep = { ...password, twoStep: true };
  const bothShown = { ...twoStep, amr: ['pwd', 'otp', 'mfa'] };
  const expired = { passwordExpired: true };

  test.each<[string, SignInState, string]>([
    ['a password where it is all', password, 'done'],
    ['a password with two-step sign-in', twoStep, 'second-factor'],
    ['the same in a remembered browser', { ...twoStep, remembered: true }, 'done'],
    ['both', bothShown, 'done'],
    ['a passkey that checked its person', { ...twoStep, amr: ['pop', 'user', 'mfa'] }, 'done'],
    ['a passkey that did not', { ...twoStep, amr: ['pop', 'user'] }, 'second-factor'],
    ['an expired password', { ...password, ...expired }, 'change-password'],
    ['an expired one, before the second factor', { ...twoStep, ...expired }, 'second-factor'],
    ['an expired one, after it', { ...bothShown, ...expired }, 'change-password'],
    ['an expired one that was not used', { ...password, amr: ['pop', 'user', 'mfa'], ...expired }, 'done'],
  ])('after %s', (_, state, step) => {
    expect(nextSignInStep(state)).toBe(step);
  });

  test('two factors are named once each, and as two', () => {
    expect(withSecondFactor(['pwd'], ['otp'])).toEqual(['pwd', 'otp', 'mfa']);
    expect(withSecondFactor(['pwd', 'otp', 'mfa'], ['otp'])).toEqual(['pwd', 'otp', 'mfa']);
  });
});

describe('what a browser keeps', () => {
  const encryption = createEncryption([Buffer.alloc(32, 1)]);
  const progress = { accountId: 'u_ada', amr: ['pwd'], place: '/auth', accountState: 'state' };
  const keep = (place = '/auth', secure = false) => {
    const { name, value } = progressCookie({ encryption, secure }, { ...progress, place });
    return `${name}=${value}`;
  };
  const read = (cookies: string, place = '/auth') => readProgress({ encryption, secure: false }, cookies, place);

  test('is read at its own place alone, among others of the name', () => {
    const other = '/auth/interaction/abc';
    const cookies = `a=b; ${keep(other)}; ${keep()}`;
    expect(read(cookies)).toMatchObject(progress);
    expect(read(cookies, other)).toMatchObject({ ...progress, place: other });
    expect(read(cookies, '/auth/interaction/xyz')).toBeUndefined();
  });

  test('counts for ten minutes, and not from the future', () => {
    const cookie = keep();
    const now = Date.now();
    vi.useFakeTimers({ toFake: ['Date'] });
    for (const [minutes, counts] of [
      [progressMinutes - 0.1, true],
      [progressMinutes, false],
      [-1, false],
    ] as const) {
      vi.setSystemTime(now + minutes * 60_000);
      expect([minutes, read(cookie) !== undefined]).toEqual([minutes, counts]);
    }
  });

  test('is nothing once it was changed, sealed for another purpose or by another key', () => {
    const foreign = createEncryption([Buffer.alloc(32, 2)]);
    const sealed = [
      keep().slice(0, -3),
      `latchkey_sign_in=${encryption.encrypt(JSON.stringify(progress), 'another purpose')}`,
      `latchkey_sign_in=${foreign.encrypt(JSON.stringify({ ...progress, id: 'x', startedAt: Date.now() }), 'sign-in-progress')}`,
      `latchkey_sign_in=${encryption.encrypt('{}', 'sign-in-progress')}`,
      'latchkey_sign_in=',
      '',
    ];
    for (const cookie of sealed) expect(read(cookie)).toBeUndefined();
    expect(read(undefined as never)).toBeUndefined();
  });

  test('goes to the steps of its place only, by https only where there is https', () => {
    const { name, options } = progressCookie({ encryption, secure: true }, progress);
    expect({ name, ...options }).toEqual({
      name: '__Secure-latchkey_sign_in',
      httpOnly: true,
      sameSite: 'lax',
      secure: true,
      path: '/auth',
      maxAge: 600_000,
    });
  });
});
