/**
 * A person at a plain browser: cookies with their paths, redirects followed as far as this origin goes, forms filled in
 * by id. No JavaScript, so that every flow is proven without it.
 */
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';

export type Page = {
  url: string;
  status: number;
  headers: Headers;
  html: string;
  /** Where the server sent the browser when it left this origin. */
  left: URL | undefined;
};

type Cookie = { value: string; path: string };
type Fields = Record<string, string | string[]>;

export type Person = ReturnType<typeof createPerson>;

/** A header that says that a request comes from an address of its own: no limit per address answers it. For servers with TRUST_PROXY=1. */
export function fromElsewhere(): { 'x-forwarded-for': string } {
  return { 'x-forwarded-for': [...randomBytes(4)].map((part) => (part % 250) + 1).join('.') };
}

/** Somebody whose every request comes from one such address. */
export function createStranger({ origin }: { origin: string }): Person {
  return createPerson(origin, fromElsewhere());
}

export function createPerson(origin: string, headers: Record<string, string> = {}) {
  const jar = new Map<string, Cookie>();

  function cookieHeader(pathname: string): string {
    const fits = ({ path }: Cookie) => pathname === path || pathname.startsWith(path.endsWith('/') ? path : `${path}/`);
    return [...jar]
      .flatMap(([key, cookie]) => (fits(cookie) ? [`${key.split(' ')[0]}=${cookie.value}`] : []))
      .join('; ');
  }

  function keepCookies(response: Response): void {
    for (const line of response.headers.getSetCookie()) {
      const [pair = '', ...attributes] = line.split('; ');
      const [name = '', value = ''] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)];
      const attribute = (key: string) =>
        attributes.find((text) => text.toLowerCase().startsWith(`${key}=`))?.slice(key.length + 1);
      const path = attribute('path') ?? '/';
      const expires = attribute('expires');
      if (value === '' || (expires && new Date(expires) <= new Date())) jar.delete(`${name} ${path}`);
      else jar.set(`${name} ${path}`, { value, path });
    }
  }

  /** One request with this browser's cookies, no redirect followed. */
  async function request(url: string, init: RequestInit = {}): Promise<Response> {
    const target = new URL(url, origin);
    const cookie = cookieHeader(target.pathname);
    const response = await fetch(target, {
      ...init,
      redirect: 'manual',
      headers: { accept: 'text/html,*/*;q=0.8', ...headers, ...(cookie && { cookie }), ...(init.headers as object) },
    });
    keepCookies(response);
    return response;
  }

  /** Opens an address as a browser would, and stays where it ends or where it leaves this origin. */
  async function open(url: string, init: RequestInit = {}): Promise<Page> {
    let target = new URL(url, origin);
    let response = await request(target.href, init);
    for (let hops = 0; response.status >= 300 && response.status < 400; hops += 1) {
      expect(hops).toBeLessThan(12);
      await response.body?.cancel();
      target = new URL(response.headers.get('location') ?? '', target);
      if (target.origin !== origin || target.pathname === '/callback') {
        return { url: target.href, status: response.status, headers: response.headers, html: '', left: target };
      }
      response = await request(target.href);
    }
    const html = await response.text();
    return { url: target.href, status: response.status, headers: response.headers, html, left: undefined };
  }

  /** Sends a form of a page, with the fields that a person filled in and the button pressed. */
  async function submit(page: Page, formId: string, fields: Fields = {}, button?: string): Promise<Page> {
    const form = readForm(page.html, formId);
    const body = new URLSearchParams(form.hidden);
    for (const [name, value] of Object.entries(fields)) for (const each of [value].flat()) body.append(name, each);
    if (button) {
      const pressed = readButton(page.html, button);
      if (pressed.name) body.append(pressed.name, pressed.value);
    }
    return open(new URL(form.action, page.url).href, {
      method: 'POST',
      body,
      headers: { origin, 'sec-fetch-site': 'same-origin' },
    });
  }

  return { origin, jar, request, open, submit };
}

/** Entities that our templates write. */
function decode(text: string): string {
  return text
    .replaceAll('&#34;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&');
}

function attributeOf(tag: string, name: string): string | undefined {
  const match = new RegExp(`\\s${name}="([^"]*)"`).exec(tag);
  return match?.[1] === undefined ? undefined : decode(match[1]);
}

export function readForm(html: string, id: string): { action: string; hidden: [string, string][] } {
  const match = new RegExp(`<form[^>]*\\sid="${id}"[^>]*>`).exec(html);
  if (!match)
    throw new Error(`no form#${id} on this page: ${/<h1[^>]*>([^<]*)/.exec(html)?.[1] ?? html.slice(0, 300)}`);
  const inside = html.slice(match.index, html.indexOf('</form>', match.index));
  const hidden = [...inside.matchAll(/<input[^>]*type="hidden"[^>]*>/g)].map(([tag]): [string, string] => [
    attributeOf(tag, 'name') ?? '',
    attributeOf(tag, 'value') ?? '',
  ]);
  return { action: attributeOf(match[0], 'action') ?? '', hidden };
}

function readButton(html: string, id: string): { name: string | undefined; value: string } {
  const tag = new RegExp(`<button[^>]*\\sid="${id}"[^>]*>`).exec(html)?.[0];
  if (!tag) throw new Error(`no button#${id} on this page`);
  return { name: attributeOf(tag, 'name'), value: attributeOf(tag, 'value') ?? '' };
}

/** The values of a form's checkboxes, and which are ticked. */
export function readCheckboxes(html: string, name: string): Record<string, boolean> {
  return Object.fromEntries(
    [...html.matchAll(/<input[^>]*type="checkbox"[^>]*>/g)]
      .filter(([tag]) => attributeOf(tag, 'name') === name)
      .map(([tag]) => [attributeOf(tag, 'value') ?? '', /\schecked(\s|>|=)/.test(tag)]),
  );
}

/** What a page says, without its markup. */
export function readText(html: string): string {
  return decode(html.replace(/<(script|style)[\s\S]*?<\/\1>/g, '').replace(/<[^>]+>/g, ' ')).replace(/\s+/g, ' ');
}

/** A form's work as a program does it, with the person's cookies. */
export function postJson(person: Person, path: string, body: object): Promise<Response> {
  const headers = { 'content-type': 'application/json', accept: 'application/json' };
  return person.request(path, { method: 'POST', headers, body: JSON.stringify(body) });
}
