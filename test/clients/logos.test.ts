import { eq } from 'drizzle-orm';
import request from 'supertest';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type Client, registerClient, updateClient } from '../../src/clients/clients.ts';
import { logoPath, refreshLogo } from '../../src/clients/logos.ts';
import { pictureType } from '../../src/clients/picture-type.ts';
import { clientLogos } from '../../src/db/schema.ts';
import { createOutbound } from '../../src/http/outbound.ts';
import { useClients } from './fixture.ts';

const clients = useClients();
const png = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');
const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>');
const uri = 'https://fernwood.example/logo';

afterEach(() => {
  vi.useRealTimers();
});

async function register(logo_uri: string | null = uri): Promise<Client> {
  const metadata = { redirect_uris: ['https://fernwood.example/cb'], logo_uri };
  return (await registerClient(clients.db, clients, metadata, { registeredBy: 'operator' })).client;
}

/** A server of logos: answers what it is given, counts what it is asked. */
function answering(...answers: (Response | Error)[]) {
  return vi.fn<typeof globalThis.fetch>(async () => {
    const answer = answers.shift() ?? new Error('asked too often');
    if (answer instanceof Error) throw answer;
    return answer;
  });
}

const picture = (body: Buffer = png) => new Response(new Uint8Array(body));

/** The path of the logo, and whether a page that shows it would ask for a copy. */
async function look(client: Client): Promise<{ path: string | undefined; refreshes: boolean }> {
  const refresh = vi.fn();
  const path = await logoPath(clients.db, client, refresh);
  return { path, refreshes: refresh.mock.calls.length > 0 };
}

describe('a copy', () => {
  test('is asked for when there is none, and shown from this origin then', async () => {
    const client = await register();
    expect(await look(client)).toEqual({ path: undefined, refreshes: true });
    await refreshLogo(clients.db, answering(picture()), client);
    expect(await look(client)).toEqual({ path: `/clients/${client.clientId}/logo`, refreshes: false });
    const { status, headers, body } = await request(clients.app()).get(`/clients/${client.clientId}/logo`);
    expect(status).toBe(200);
    expect(body).toEqual(png);
    expect(headers).toMatchObject({ 'content-type': 'image/png', 'x-content-type-options': 'nosniff' });
    expect(headers['cache-control']).toContain('public, max-age=');
    expect(headers).toHaveProperty('etag');
  });

  test('is asked for once, however many pages want it', async () => {
    const client = await register();
    const fetch = answering(picture());
    await Promise.all([1, 2, 3, 4].map(() => refreshLogo(clients.db, fetch, client)));
    await refreshLogo(clients.db, fetch, client);
    expect(fetch).toHaveBeenCalledTimes(1);
  });

  test('is renewed after a day, and stays when that fails', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000_000 });
    const client = await register();
    const fetch = answering(picture(), new Error('down'), picture(svg));
    await refreshLogo(clients.db, fetch, client);
    vi.setSystemTime(Date.now() + 24 * 3_600_000);
    expect(await look(client)).toMatchObject({ path: expect.any(String), refreshes: true });
    await expect(refreshLogo(clients.db, fetch, client)).rejects.toThrow('down');
    expect(await look(client)).toMatchObject({ path: expect.any(String), refreshes: false });
    vi.setSystemTime(Date.now() + 24 * 3_600_000);
    await refreshLogo(clients.db, fetch, client);
    const { headers } = await request(clients.app()).get(`/clients/${client.clientId}/logo`);
    expect(headers['content-type']).toBe('image/svg+xml');
  });

  test('that could not be had is tried again after ten minutes', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000_000 });
    const client = await register();
    const fetch = answering(new Error('down'), picture());
    await expect(refreshLogo(clients.db, fetch, client)).rejects.toThrow('down');
    expect(await look(client)).toEqual({ path: undefined, refreshes: false });
    await refreshLogo(clients.db, fetch, client);
    expect(fetch).toHaveBeenCalledTimes(1);
    vi.setSystemTime(Date.now() + 600_000);
    expect(await look(client)).toEqual({ path: undefined, refreshes: true });
    await refreshLogo(clients.db, fetch, client);
    expect(await look(client)).toMatchObject({ path: expect.any(String) });
  });

  test('of another address than the registered one is not shown', async () => {
    const client = await register();
    await refreshLogo(clients.db, answering(picture()), client);
    const change = (logo_uri: string | null) => {
      const { clientId, metadata } = client;
      return updateClient(clients.db, clients, clientId, { ...metadata, client_id: clientId, logo_uri });
    };
    const moved = (await change('https://fernwood.example/new'))?.client as Client;
    expect(await look(moved)).toEqual({ path: undefined, refreshes: true });
    await request(clients.app()).get(`/clients/${client.clientId}/logo`).expect(404);
    await expect(refreshLogo(clients.db, answering(new Error('down')), moved)).rejects.toThrow('down');
    await request(clients.app()).get(`/clients/${client.clientId}/logo`).expect(404);
    const bare = (await change(null))?.client as Client;
    expect(await look(bare)).toEqual({ path: undefined, refreshes: false });
    await request(clients.app()).get(`/clients/${client.clientId}/logo`).expect(404);
  });

  test('that comes late does not replace that of a newer address', async () => {
    const client = await register();
    const { clientId, metadata } = client;
    const moved = { ...metadata, client_id: clientId, logo_uri: 'https://fernwood.example/new' };
    const late = vi.fn<typeof globalThis.fetch>(async () => {
      const updated = await updateClient(clients.db, clients, clientId, moved);
      await refreshLogo(clients.db, answering(picture(svg)), updated?.client as Client);
      return picture();
    });
    await refreshLogo(clients.db, late, client);
    const [row] = await clients.db.select().from(clientLogos).where(eq(clientLogos.clientId, clientId));
    expect(row).toMatchObject({ sourceUri: moved.logo_uri, contentType: 'image/svg+xml' });
  });
});

describe('there is no copy', () => {
  test.each([
    ['an error page', new Response('not here', { status: 404 }), 'status 404'],
    [
      'an HTML page',
      new Response('<!doctype html><svg></svg>', { headers: { 'content-type': 'image/png' } }),
      'none of',
    ],
    ['nothing', new Response(''), 'none of'],
    ['more than 256 KiB', picture(Buffer.concat([png, Buffer.alloc(256 * 1024)])), 'larger than'],
  ])('of %s', async (_what, response, reason) => {
    const client = await register();
    await expect(refreshLogo(clients.db, answering(response), client)).rejects.toThrow(reason);
    expect((await look(client)).path).toBeUndefined();
    await request(clients.app()).get(`/clients/${client.clientId}/logo`).expect(404);
  });

  test('of what only this network can reach', async () => {
    const client = await register('https://127.0.0.1/logo.png');
    const outbound = createOutbound({ allow: [] });
    await expect(refreshLogo(clients.db, outbound.fetch, client)).rejects.toThrow('OUTBOUND_ALLOW');
    await outbound.close();
  });

  test('for a client without a logo, or no client', async () => {
    const client = await register(null);
    const fetch = answering();
    await refreshLogo(clients.db, fetch, client);
    expect(fetch).not.toHaveBeenCalled();
    await request(clients.app()).get(`/clients/${client.clientId}/logo`).expect(404);
    await request(clients.app()).get('/clients/c_unknown/logo').expect(404);
  });
});

test('an SVG opened by itself runs nothing', async () => {
  const client = await register();
  await refreshLogo(clients.db, answering(picture(svg)), client);
  const { headers } = await request(clients.app()).get(`/clients/${client.clientId}/logo`);
  expect(headers['content-security-policy']).toMatch(/^default-src 'none';.*; sandbox$/);
});

describe('a picture is what its bytes say', () => {
  test.each([
    ['image/png', png],
    ['image/jpeg', Buffer.from('ffd8ffe000104a464946', 'hex')],
    ['image/gif', Buffer.from('GIF89a....')],
    ['image/webp', Buffer.from('RIFF\x10\x0a\0\0WEBPVP8 ', 'latin1')],
    ['image/avif', Buffer.from('\0\0\0\x20ftypavif', 'latin1')],
    ['image/svg+xml', svg],
    [
      'image/svg+xml',
      Buffer.from('\ufeff<?xml version="1.0"?>\n<!-- a - b -->\n<!DOCTYPE svg PUBLIC "-//W3C">\n<svg>'),
    ],
  ])('%s', (type, body) => {
    expect(pictureType(body)).toBe(type);
  });

  test.each([
    '<html><svg></svg></html>',
    '<!DOCTYPE html><svg>',
    '<!DOCTYPE svg [<!ENTITY a "aaaa">]><svg>',
    '<script>alert(1)</script>',
    'text <svg>',
    '<svgx>',
    '<!-- --><script><!-- --><svg>',
    '%PDF-1.4',
    '',
  ])('and %s is none', (text) => {
    expect(pictureType(Buffer.from(text))).toBeUndefined();
  });
});
