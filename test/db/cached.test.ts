import { expect, onTestFinished, test, vi } from 'vitest';
import { createCached } from '../../src/db/cached.ts';
import type { Notices } from '../../src/db/notices.ts';

/** A cache over loads that the test answers by hand, and notices that it sends. */
function setUp({ max = 3, arriving = true }: { max?: number; arriving?: boolean } = {}) {
  let changed: (key: string | undefined) => void = () => {};
  const state = { arriving, now: 1, doubtfulUntil: 0 };
  const notices = {
    subscribe: (_table, listener) => {
      changed = listener;
    },
    arriving: () => state.arriving,
    now: () => state.now,
    doubtfulUntil: () => state.doubtfulUntil,
  } as Notices;
  const loads: { key: string; answer(value: unknown): void; fail(error: Error): void }[] = [];
  const cached = createCached<unknown>({
    notices,
    table: 'apis',
    load: (key) => new Promise((answer, fail) => loads.push({ key, answer, fail })),
    max,
    worthKeeping: (value) => value !== 'large',
  });
  /** Answers the newest load with `value`. */
  const load = async (key: string, value: unknown) => {
    const got = cached.get(key);
    loads.at(-1)?.answer(value);
    return got;
  };
  return { get: cached.get, load, loads, state, changed: (key?: string) => changed(key) };
}

function passTime() {
  let later = 0;
  const { now } = performance;
  vi.spyOn(performance, 'now').mockImplementation(() => now.call(performance) + later);
  onTestFinished(() => void vi.restoreAllMocks());
  return (ms: number) => {
    later += ms;
  };
}

test('requests at once share one look-up, and later ones its answer', async () => {
  const { get, loads } = setUp();
  const both = [get('a'), get('a')];
  loads[0]?.answer('A');
  expect(await Promise.all([...both, get('a')])).toEqual(['A', 'A', 'A']);
  expect(loads).toHaveLength(1);
});

test('a change is looked up again: of its key, or of all when it may be anything', async () => {
  const { load, loads, changed } = setUp();
  await load('a', 1);
  await load('b', 1);
  changed('a');
  expect([await load('a', 2), await load('b', 2)]).toEqual([2, 1]);
  changed();
  expect([await load('a', 3), await load('b', 3)]).toEqual([3, 3]);
  expect(loads.map(({ key }) => key)).toEqual(['a', 'b', 'a', 'a', 'b']);
});

test('a look-up that a change overtook is not kept, nor waited for by who comes after', async () => {
  const { get, loads, changed } = setUp();
  const before = get('a');
  changed('a');
  const after = get('a');
  loads[1]?.answer('new');
  loads[0]?.answer('old');
  expect(await Promise.all([before, after, get('a')])).toEqual(['old', 'new', 'new']);
});

test('while a change of this process’s own is in doubt nothing from before it is answered', async () => {
  const { get, load, loads, state, changed } = setUp();
  await load('a', 'a1');
  await load('b', 'b1');
  const underWay = get('c');
  state.doubtfulUntil = state.now;
  state.now += 1;
  expect(await load('a', 'a2')).toBe('a2');
  const fresh = load('c', 'c2');
  loads.find(({ key }) => key === 'c')?.answer('c1');
  expect([await underWay, await fresh, await get('c'), await get('a')]).toEqual(['c1', 'c2', 'c2', 'a2']);
  // The notice comes, and says that it was c.
  changed('c');
  state.doubtfulUntil = 0;
  expect(await get('b')).toBe('b1');
  expect(await load('c', 'c3')).toBe('c3');
});

test('a failure is everybody’s who waited, and nobody’s later', async () => {
  const { get, load, loads } = setUp();
  const both = Promise.allSettled([get('a'), get('a')]);
  loads[0]?.fail(new Error('down'));
  expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(await load('a', 'up')).toBe('up');
});

test('that there is nothing is not kept, nor what is too large', async () => {
  const { load, loads } = setUp();
  for (const value of [undefined, undefined, 'large', 'large']) await load('a', value);
  expect(loads).toHaveLength(4);
});

test('the one asked for longest ago makes room', async () => {
  const { get, load, loads } = setUp({ max: 2 });
  await load('a', 1);
  await load('b', 1);
  await get('a');
  await load('c', 1);
  await get('a');
  expect(loads).toHaveLength(3);
  await load('b', 2);
  expect(loads).toHaveLength(4);
});

test('what is kept cannot be changed by one request for the others', async () => {
  const { load } = setUp();
  const value = (await load('a', { list: [{ deep: 1 }] })) as { list: { deep: number }[] };
  expect(() => value.list.push({ deep: 2 })).toThrow(TypeError);
  expect(() => Object.assign(value.list[0] ?? {}, { deep: 2 })).toThrow(TypeError);
});

test('it is kept for half a minute while notices arrive, and for a second while they do not', async () => {
  const { load, state } = setUp();
  const pass = passTime();
  await load('a', 1);
  pass(29_000);
  expect(await load('a', 2)).toBe(1);
  pass(1_000);
  expect(await load('a', 2)).toBe(2);
  pass(900);
  state.arriving = false;
  expect(await load('a', 3)).toBe(2);
  pass(100);
  expect(await load('a', 3)).toBe(3);
});
