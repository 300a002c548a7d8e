/**
 * The kinds of value an environment variable may hold. Each kind is one sentence saying what is expected and one
 * function from the text to the value (undefined: not of this kind). No sentence ever repeats what was given, because
 * what was given may be a secret, or a secret in the wrong variable.
 */
import { isIP } from 'node:net';
import path from 'node:path';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';

type Parse<T> = (text: string) => T | undefined;

/** A schema from a sentence and a parser; a parser that throws says the same as one that returns undefined. */
export function value<T>(expected: string, parse: Parse<T>) {
  return z.string({ error: expected }).transform((text, context): T => {
    const parsed = attempt(parse, text);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: expected });
    return z.NEVER;
  });
}

export function oneOf<const Name extends string>(...names: Name[]) {
  const expected = `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
  return value(expected, (text) => names.find((name) => name === text));
}

export function whole(from: number, to: number) {
  return value(`a whole number from ${from} to ${to}`, wholeNumber(from, to));
}

export function origin() {
  return value('an origin such as https://id.example.com: http or https, no path, query or credentials', parseOrigin);
}

export function origins() {
  return value(
    'origins such as https://app.example.com, separated by commas; each exact, * is not accepted',
    listOf(parseOrigin),
  );
}

export function host() {
  return value('an address or host name to listen on, without port', (text) =>
    isIP(text) > 0 || isHostName(text) ? text : undefined,
  );
}

export function folder() {
  return value('a folder', (text) => path.resolve(text));
}

export function cookieSecrets() {
  return value(
    'at least 32 characters; several, separated by commas, to rotate',
    listOf((text) => (text.length >= 32 ? text : undefined)),
  );
}

export function encryptionKeys() {
  return value(
    '32 bytes in base64, as printed by `openssl rand -base64 32`; several, separated by commas, to rotate',
    listOf((text) => (/^[A-Za-z0-9+/_-]{43}=?$/.test(text) ? Buffer.from(text, 'base64') : undefined)),
  );
}

export function databaseUrl() {
  return value('postgres://user:password@host:port/database', (text) => {
    const url = new URL(text);
    const reachable = url.hostname !== '' || url.searchParams.has('host');
    return ['postgres:', 'postgresql:'].includes(url.protocol) && reachable ? text : undefined;
  });
}

export function smtpUrl() {
  return value('smtp://user:password@host:port or smtps://…', (text) => {
    const url = new URL(text);
    // Options behind the host would be ignored, and some of them switch checks off.
    const bare = url.search === '' && url.hash === '' && ['', '/'].includes(url.pathname);
    return ['smtp:', 'smtps:'].includes(url.protocol) && url.hostname !== '' && bare ? text : undefined;
  });
}

const address = String.raw`[^\s<>@,;:"()]+@[\p{L}\p{N}-]+(\.[\p{L}\p{N}-]+)*`;
const mailbox = new RegExp(String.raw`^([^<>@\p{Cc}]+ <${address}>|${address})$`, 'u');

export function mailAddress() {
  return value('an address such as id@example.com or Example <id@example.com>', (text) =>
    mailbox.test(text) ? text : undefined,
  );
}

export function passphrase() {
  return value('at least 12 characters', (text) => (text.length >= 12 ? text : undefined));
}

/** RFC 6750 §2.1: what can follow `Bearer `. */
export function bearerToken() {
  return value('a bearer token: letters, digits and - . _ ~ + / with = at the end only', (text) =>
    /^[A-Za-z0-9._~+/-]+=*$/.test(text) ? text : undefined,
  );
}

/** Express's `trust proxy`, without `true`: that takes the leftmost X-Forwarded-For entry, which anybody can write. */
export function trustProxy() {
  return value(
    "false, a hop count from 0 to 10, or the proxies' addresses: IPs, CIDR ranges, loopback, linklocal, uniquelocal, separated by commas; true is not accepted, since any visitor could then choose the address seen",
    (text): boolean | number | string | undefined => {
      if (text === 'false') return false;
      if (/^\d+$/.test(text)) return wholeNumber(0, 10)(text);
      const named = ['loopback', 'linklocal', 'uniquelocal'];
      return listOf((item) => (named.includes(item) || isAddressRange(item) ? item : undefined))(text)?.join(', ');
    },
  );
}

/** RFC 9110 §5.1, in the lower case in which Node hands headers over. */
export function headerName() {
  return value('the name of a request header', (text) =>
    /^[a-z0-9-]{1,100}$/i.test(text) ? text.toLowerCase() : undefined,
  );
}

export function outboundHosts() {
  return value(
    'host names (without port), addresses or CIDR ranges, separated by commas',
    listOf((text) => (isAddressRange(text) || isHostName(text) ? text.toLowerCase() : undefined)),
  );
}

export function brandName() {
  return value('1 to 60 characters', (text) => (/^\P{Cc}{1,60}$/u.test(text) ? text : undefined));
}

export function logoUrl() {
  return value('an https URL, or a path on this origin such as /assets/logo.svg', (text) => {
    const here = 'https://origin.invalid';
    const url = new URL(text, here);
    if (url.username !== '' || url.password !== '') return undefined;
    if (text.startsWith('/')) return url.origin === here ? url.pathname + url.search : undefined;
    return /^https:\/\//i.test(text) ? url.href : undefined;
  });
}

export function rangeUrl() {
  return value('an http or https URL that ends with / or =', (text) => {
    const url = new URL(text);
    return /^https?:$/.test(url.protocol) && url.username === '' && /[/=]$/.test(text) ? url.href : undefined;
  });
}

export function collectorUrl() {
  return value('an http or https URL without query', (text) => {
    const url = new URL(text);
    const bare = /^https?:$/.test(url.protocol) && url.search === '' && url.hash === '' && url.username === '';
    return bare ? url.href.replace(/\/+$/, '') : undefined;
  });
}

export function headerList() {
  return value('name=value, several separated by commas, values percent-encoded', (text) => {
    const pairs = text.split(',').map((pair) => /^\s*([a-z0-9-]{1,100})\s*=\s*(\S*)\s*$/i.exec(pair));
    if (!pairs.every((pair) => pair !== null)) return undefined;
    return Object.fromEntries(pairs.map(([, name = '', encoded = '']) => [name, decodeURIComponent(encoded)]));
  });
}

export function serviceName() {
  return value('1 to 60 letters, digits or . _ - /', (text) => (/^[\w./-]{1,60}$/.test(text) ? text : undefined));
}

export function share() {
  return value('a number from 0 to 1', (text) =>
    /^(0|1|[01]?\.\d+)$/.test(text) && Number(text) <= 1 ? Number(text) : undefined,
  );
}

export function workers() {
  return value('a whole number of 1 or more, or auto', (text): number | 'auto' | undefined =>
    text === 'auto' ? text : wholeNumber(1, 1024)(text),
  );
}

/** Whether an origin's host is this machine itself: `localhost`, 127.0.0.0/8 or ::1. */
export function isLoopbackOrigin(url: string): boolean {
  const { hostname } = new URL(url);
  if (hostname === 'localhost') return true;
  const address = hostname.replace(/^\[|\]$/g, '');
  return isIP(address) > 0 && ipaddr.parse(address).range() === 'loopback';
}

function attempt<T>(parse: Parse<T>, text: string): T | undefined {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

function listOf<T>(parseItem: Parse<T>): Parse<readonly T[]> {
  return (text) => {
    const items = text.split(',').flatMap((item) => attempt(parseItem, item.trim()) ?? []);
    return items.length === text.split(',').length ? items : undefined;
  };
}

function wholeNumber(from: number, to: number): Parse<number> {
  return (text) => {
    const number = Number(text);
    return /^\d+$/.test(text) && number >= from && number <= to ? number : undefined;
  };
}

/** The URL parser drops an empty query or fragment and a default port, and lets `*` stand in a host: hence both patterns. */
function parseOrigin(text: string): string | undefined {
  if (!/^https?:\/\/[^/?#@\\\s]+\/?$/i.test(text)) return undefined;
  const url = new URL(text);
  return isHostName(url.hostname) || isIP(url.hostname.replace(/^\[|\]$/g, '')) > 0 ? url.origin : undefined;
}

/** RFC 1123 labels, underscore allowed as inner networks use it; the last one not a number, else it is a mistyped IPv4 address. */
function isHostName(text: string): boolean {
  const labels = text.split('.');
  return (
    text.length <= 253 &&
    labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label)) &&
    !/^\d+$/.test(labels.at(-1) ?? '')
  );
}

/** An IP address or a CIDR range; `/0` is refused, as it is everybody. */
function isAddressRange(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  if (rest.length > 0 || isIP(address) === 0) return false;
  return bits === undefined || wholeNumber(1, isIP(address) === 4 ? 32 : 128)(bits) !== undefined;
}
