import { type Finding, ok, problem, warning } from './finding.ts';

/** Codes live for a minute, and clients allow some seconds: from here on somebody is refused something. */
const noticeableMs = 5_000;
const harmfulMs = 30_000;

const fix = (whose: string) =>
  `Let this machine and ${whose} keep time by NTP (\`timedatectl\` tells whether it does): tokens are judged by their times.`;

/** How far a clock is from this machine's; `unsureMs` is how far off the measurement may be. */
export function compareClock(check: string, whose: string, aheadMs: number, unsureMs: number): Finding {
  const offMs = Math.max(0, Math.abs(aheadMs) - unsureMs);
  if (offMs <= noticeableMs) return ok(check, `The clock of ${whose} agrees with this machine's.`);
  const seconds = `${Math.round(Math.abs(aheadMs) / 1000)} seconds ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
  const found = `The clock of ${whose} is ${seconds} this machine's.`;
  return (offMs > harmfulMs ? problem : warning)(check, found, fix(whose));
}
