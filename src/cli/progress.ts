/** A line about long work on the terminal: on stderr, so that what comes out stays clean, and only where somebody sees it. */

export type Progress = {
  /** How much is done by now, in the units of `total`. Cheap: call it as often as you like. */
  update(done: number): void;
  /** Ends the line; `sentence` stays in its place, else nothing does. */
  done(sentence?: string): void;
};

/** What of a terminal is needed; `process.stderr` is one. */
type Terminal = { isTTY?: boolean; columns?: number; write(text: string): unknown };

const redrawMs = 100;
const barWidth = 24;
/** Back to the first column, and nothing on the line. */
const wipe = '\r\u001b[2K';

/**
 * Starts a line `label [#####-----]  50% 500/1,000`; without `total`, which may be an estimate, only what is done is told.
 * Where stderr is no terminal (a pipe, a service) nothing is written at all.
 */
export function createProgress(
  label: string,
  { total, terminal = process.stderr }: { total?: number; terminal?: Terminal } = {},
): Progress {
  if (!terminal.isTTY) return { update() {}, done() {} };
  let drawnAt = 0;
  const draw = (done: number) => {
    const line = total === undefined ? `${label} ${count(done)}` : `${label} ${bar(done, total)}`;
    terminal.write(`${wipe}${line.slice(0, (terminal.columns ?? 80) - 1)}`);
  };
  draw(0);
  return {
    update(done) {
      const now = Date.now();
      if (Math.abs(now - drawnAt) < redrawMs) return;
      drawnAt = now;
      draw(done);
    },
    done(sentence) {
      terminal.write(sentence === undefined ? wipe : `${wipe}${sentence}\n`);
    },
  };
}

/** More than estimated is still all of it. */
function bar(done: number, total: number): string {
  const share = total > 0 ? Math.min(done / total, 1) : 1;
  const filled = Math.round(share * barWidth);
  const percent = `${Math.floor(share * 100)}%`.padStart(4);
  return `[${'#'.repeat(filled)}${'-'.repeat(barWidth - filled)}] ${percent} ${count(done)}/${count(total)}`;
}

function count(number: number): string {
  return Math.floor(number).toLocaleString('en');
}
