/** How examples/spa starts, what it keeps, and what its server answers. */
import { randomUUID } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { launchExample, startExample } from '../support/example.ts';
import { freePort } from '../support/listen.ts';
import { registerClient } from '../support/relying-party.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startApp();
});
afterAll(() => app.close());

type Registration = { client_id: string; registration_access_token: string; registration_client_uri: string };

async function startWith(env: Record<string, string>) {
  const port = await freePort();
  const running = await startExample('spa', { ISSUER: app.issuer, PORT: String(port), ...env });
  return { port, clientId: /Client +(\S+)/.exec(running.stdout())?.[1], running };
}

/** A request to an address of ours under any name. */
function statusFor(port: number, options: { path?: string; method?: string; host?: string }) {
  return new Promise<{ status: number | undefined; headers: Record<string, unknown> }>((resolve, reject) => {
    const { host = `localhost:${port}`, ...rest } = options;
    request({ port, host: '127.0.0.1', headers: { host }, ...rest }, (answer) => {
      answer.resume();
      resolve({ status: answer.statusCode, headers: answer.headers });
    })
      .on('error', reject)
      .end();
  });
}

test('it registers once, keeps that to itself, follows its port, and registers anew when it was forgotten', async () => {
  const file = join(tmpdir(), `${randomUUID()}.json`);
  const kept = async () => JSON.parse(await readFile(file, 'utf8')) as Registration;
  const first = await startWith({ REGISTRATION_FILE: file });
  expect(((await stat(file)).mode & 0o777).toString(8)).toBe('600');
  const { client_id, registration_client_uri: uri, registration_access_token: token } = await kept();
  expect(first.clientId).toBe(client_id);
  expect(await first.running.stop()).toEqual({ code: 0, signal: null });

  const second = await startWith({ REGISTRATION_FILE: file });
  expect(second.clientId).toBe(client_id);
  const headers = { authorization: `Bearer ${token}` };
  expect(await (await fetch(uri, { headers })).json()).toMatchObject({
    redirect_uris: [`http://localhost:${second.port}/callback`],
    post_logout_redirect_uris: [`http://localhost:${second.port}/signed-out`],
    token_endpoint_auth_method: 'none',
    dpop_bound_access_tokens: true,
    dpop_require_nonce: true,
  });

  await fetch(uri, { method: 'DELETE', headers });
  const third = await startWith({ REGISTRATION_FILE: file });
  expect(third.clientId).not.toBe(client_id);
  expect((await kept()).client_id).toBe(third.clientId);
});

test('it takes the client that the operator registered', async () => {
  const { client_id } = await registerClient(app, { token_endpoint_auth_method: 'none' });
  expect((await startWith({ CLIENT_ID: client_id })).clientId).toBe(client_id);
});

test.each([
  ['nobody answers', 'http://localhost:1/oidc', 'Latchkey does not answer at http://localhost:1/oidc/'],
  ['another issuer answers', undefined, 'is not that issuer. Is ISSUER right?'],
  ['the issuer is no address', 'nonsense', 'ISSUER must be https'],
  ['the issuer is on plain http elsewhere', 'http://id.example/oidc', 'ISSUER must be https'],
])('it ends with one line when %s', async (_what, issuer, says) => {
  const running = launchExample('spa', { ISSUER: issuer ?? `${app.origin}/elsewhere`, PORT: String(await freePort()) });
  expect((await running.ended).code).toBe(1);
  expect(running.stderr()).toContain(says);
  expect(running.stderr().trim().split('\n')).toHaveLength(1);
  expect(running.stdout()).toBe('');
});

test('its pages run no script but their own, are not framed, and speak to the issuer alone', async () => {
  const { port } = await startWith({});
  for (const path of ['/', '/callback', '/signed-out', '/app.js', '/nothing-here']) {
    const { status, headers } = await statusFor(port, { path });
    expect(status, path).toBe(path === '/nothing-here' ? 404 : 200);
    const policy = String(headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'; script-src 'self';");
    expect(policy).toContain(`connect-src ${app.origin};`);
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain('unsafe');
    expect(headers).toMatchObject({ 'referrer-policy': 'no-referrer', 'cache-control': 'no-store' });
  }
  expect((await statusFor(port, { method: 'POST' })).status).toBe(405);
  expect(await statusFor(port, { host: `127.0.0.1:${port}` })).toMatchObject({
    status: 307,
    headers: { location: `http://localhost:${port}/` },
  });
});
