/**
 * What a `User-Agent` says of a device, in words for the person who used it. Anybody can send any: it is shown to be
 * recognised, and nothing is decided by it.
 */
export type Device = {
  /** "Firefox on Linux" */
  words: string;
  kind: 'computer' | 'phone' | 'program';
};

/** In this order: what pretends to be another comes first. */
const browsers: [RegExp, string][] = [
  [/\b(?:Edg|EdgA|EdgiOS)\//, 'Edge'],
  [/\b(?:OPR|OPiOS)\//, 'Opera'],
  [/\bSamsungBrowser\//, 'Samsung Internet'],
  [/\bVivaldi\//, 'Vivaldi'],
  [/\b(?:Firefox|FxiOS)\//, 'Firefox'],
  [/\b(?:Chrome|CriOS|HeadlessChrome)\//, 'Chrome'],
  [/\bVersion\/[\d.]+ (?:Mobile\/\w+ )?Safari\//, 'Safari'],
];

const systems: [RegExp, string, Device['kind']][] = [
  [/\biPhone\b/, 'iPhone', 'phone'],
  [/\biPad\b/, 'iPad', 'phone'],
  [/\bAndroid\b/, 'Android', 'phone'],
  [/\bWindows\b/, 'Windows', 'computer'],
  [/\bCrOS\b/, 'ChromeOS', 'computer'],
  [/\bMac OS X\b/, 'Mac', 'computer'],
  [/\bLinux\b/, 'Linux', 'computer'],
];

export function describeUserAgent(userAgent: string | undefined): Device {
  const text = (userAgent ?? '').slice(0, 300);
  const [, browser] = browsers.find(([mark]) => mark.test(text)) ?? [];
  const [, system, kind] = systems.find(([mark]) => mark.test(text)) ?? [];
  if (browser) return { words: system ? `${browser} on ${system}` : browser, kind: kind ?? 'computer' };
  if (system) return { words: `A browser on ${system}`, kind: kind ?? 'computer' };
  // Programs begin with their name.
  const program = /^[A-Za-z][\w.-]{0,29}(?=\/|$)/.exec(text)?.[0];
  return { words: program ?? 'An unknown device', kind: 'program' };
}
