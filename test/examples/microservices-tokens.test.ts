/** How examples/microservices keeps tokens: as long as they are good, with one request however many wait. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { keepToken } from '../../examples/microservices/tokens.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.spyOn(console, 'log').mockReturnValue();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const pass = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000);

/** Gives tokens 1, 2, 3, … for two minutes each; while `away` it gives none. */
function issuer() {
  const state = { given: 0, away: false };
  const kept = keepToken(async () => {
    await Promise.resolve();
    if (state.away) throw new Error('away');
    state.given += 1;
    return { access_token: String(state.given), expires_in: 120 };
  });
  return { state, kept };
}

test('one request serves all who wait, and all who come until the token is nearly over', async () => {
  const { state, kept } = issuer();
  expect(await Promise.all([kept.get(), kept.get(), kept.get()])).toEqual(['1', '1', '1']);
  pass(89);
  expect(await kept.get()).toBe('1');
  pass(2);
  expect(await Promise.all([kept.get(), kept.get()])).toEqual(['2', '2']);
  expect(state.given).toBe(2);
});

test('while Latchkey is away the token serves to its end, and no longer; then all goes on by itself', async () => {
  const { state, kept } = issuer();
  await kept.get();
  state.away = true;
  pass(119);
  expect(await kept.get()).toBe('1');
  pass(1);
  await expect(kept.get()).rejects.toThrow('away');
  state.away = false;
  expect(await kept.get()).toBe('2');
});

test('a token that was refused is replaced once, for all who were refused', async () => {
  const { state, kept } = issuer();
  const refused = await kept.get();
  expect(await Promise.all([kept.instead(refused), kept.instead(refused)])).toEqual(['2', '2']);
  expect(await kept.instead(refused)).toBe('2');
  state.away = true;
  expect(await kept.instead('2')).toBeUndefined();
  // Another API, or another route, may take it still.
  expect(await kept.get()).toBe('2');
});
