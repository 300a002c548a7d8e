import { expect, test, vi } from 'vitest';
import { createBackground } from '../../src/lib/background.ts';

test('repeated work runs again after its pause, at once when woken, and never twice at a time', async () => {
  vi.useFakeTimers();
  try {
    const background = createBackground(() => {});
    let running = 0;
    let runs = 0;
    const work = async () => {
      running += 1;
      expect(running).toBe(1);
      await Promise.resolve();
      running -= 1;
      runs += 1;
    };
    const repeated = background.repeat('counting', 1_000, work);
    await vi.advanceTimersByTimeAsync(999);
    expect(runs).toBe(0);
    await vi.advanceTimersByTimeAsync(2_001);
    expect(runs).toBe(3);
    repeated.wake();
    repeated.wake();
    await vi.advanceTimersByTimeAsync(0);
    expect(runs).toBe(5);
    await background.close();
    repeated.wake();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(runs).toBe(5);
  } finally {
    vi.useRealTimers();
  }
});

test('a failure is told and does not end the repetition; closing waits for what runs', async () => {
  const failures: unknown[] = [];
  const background = createBackground((name, error) => failures.push([name, error]));
  const failure = new Error('no');
  let finish = () => {};
  const repeated = background.repeat('failing', 60_000, () => Promise.reject(failure));
  repeated.wake();
  background.run('slow', () => new Promise<void>((resolve) => (finish = resolve)));
  const closed = background.close();
  finish();
  await closed;
  expect(failures).toEqual([['failing', failure]]);
});

test('in a process that does not lead, only its own work repeats; the rest waits to be woken', async () => {
  vi.useFakeTimers();
  try {
    const background = createBackground(() => {}, { leads: false });
    const runs = { shared: 0, own: 0 };
    const shared = background.repeat('shared', 1_000, async () => runs.shared++);
    background.repeat('own', 1_000, async () => runs.own++, { everyProcess: true });
    await vi.advanceTimersByTimeAsync(3_000);
    expect(runs).toEqual({ shared: 0, own: 3 });
    shared.wake();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(runs).toEqual({ shared: 1, own: 6 });
    await background.close();
  } finally {
    vi.useRealTimers();
  }
});
