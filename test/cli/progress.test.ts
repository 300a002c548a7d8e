import { expect, test, vi } from 'vitest';
import { createProgress } from '../../src/cli/progress.ts';

function terminal(isTTY: boolean, columns = 80) {
  const written: string[] = [];
  return { isTTY, columns, written, write: (text: string) => written.push(text) };
}

test('on a terminal the line shows how far the work is, and ends as a sentence', () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  const tty = terminal(true);
  const progress = createProgress('Copying', { total: 1000, terminal: tty });
  for (const done of [1, 500, 2000]) {
    vi.advanceTimersByTime(1_000);
    progress.update(done);
    progress.update(done + 1);
  }
  progress.done('Copied.');
  vi.useRealTimers();
  expect(tty.written.map((text) => text.replace('\r\u001b[2K', ''))).toEqual([
    'Copying [------------------------]   0% 0/1,000',
    'Copying [------------------------]   0% 1/1,000',
    'Copying [############------------]  50% 500/1,000',
    'Copying [########################] 100% 2,000/1,000',
    'Copied.\n',
  ]);
});

test('a line is never wider than its terminal, and an unknown end is no bar', () => {
  const tty = terminal(true, 12);
  createProgress('Importing', { terminal: tty }).done();
  expect(tty.written).toEqual(['\r\u001b[2KImporting 0', '\r\u001b[2K']);
});

test('where nobody looks nothing is written', () => {
  const pipe = terminal(false);
  const progress = createProgress('Copying', { total: 2, terminal: pipe });
  progress.update(1);
  progress.done('Copied.');
  expect(pipe.written).toEqual([]);
});
