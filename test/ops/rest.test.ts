import { expect, test } from 'vitest';
import { type Heap, ownHeap, restWhenQuiet } from '../../src/ops/rest.ts';

const megabyte = 2 ** 20;

/** Looks by hand at a heap that a test makes up. */
function watch(parts: Partial<Heap> = {}) {
  const state = { bytes: 100 * megabyte, utilization: 0, collections: 0 };
  let look = async (): Promise<unknown> => undefined;
  const heap: Heap = {
    utilization: () => ({ idle: 0, active: 0, utilization: state.utilization }),
    bytes: () => state.bytes,
    async collect() {
      state.collections += 1;
      state.bytes = 40 * megabyte;
    },
    ...parts,
  };
  const repeat = (_name: string, _everyMs: number, work: typeof look) => {
    look = work;
    return { wake() {} };
  };
  restWhenQuiet({ repeat }, heap);
  return { state, look: () => look() };
}

test('what a start left is given back once it is quiet, and after that nothing is done without need', async () => {
  const { state, look } = watch();
  await look();
  expect(state.collections).toBe(1);
  state.bytes += 10 * megabyte;
  await look();
  expect(state.collections).toBe(1);
  state.bytes += 10 * megabyte;
  await look();
  expect(state.collections).toBe(2);
});

test('no request is held up by it: nothing is done while there is work', async () => {
  const { state, look } = watch();
  state.utilization = 0.1;
  await look();
  expect(state.collections).toBe(0);
  state.utilization = 0.01;
  await look();
  expect(state.collections).toBe(1);
});

test('what nobody holds any more is really gone', async () => {
  const { look } = watch({ collect: ownHeap.collect });
  const left = new WeakRef({});
  await look();
  expect(left.deref()).toBeUndefined();
});
