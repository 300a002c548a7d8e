import { randomBytes } from 'node:crypto';
import { expect, onTestFinished, test } from 'vitest';
import { type StartOptions, startApp } from '../support/app.ts';
import { assertionClaims, assertionType, createClientKeys, signWith } from '../support/client-keys.ts';
import { startDocuments } from '../support/documents.ts';
import { discover, registerAccount, registerClient, signInThrough } from '../support/relying-party.ts';
import { type CollectedSpan, startCollector } from '../support/trace-collector.ts';

/** An application that tells a collector; `done` stops it, which sends what was not sent yet. */
async function startTraced(env: Record<string, string> = {}, options: StartOptions = {}) {
  const collector = await startCollector();
  const tracing = { OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.endpoint}/`, OTEL_SERVICE_NAME: 'latchkey-test' };
  const app = await startApp({ ...options, env: { ...tracing, ...env } });
  let closed: Promise<void> | undefined;
  const done = () => {
    closed ??= app.close();
    return closed;
  };
  onTestFinished(done);
  return { app, collector, done };
}

const server = 2;
const client = 3;
const traceIn = (spans: CollectedSpan[], traceId: string | undefined) => spans.filter((s) => s.traceId === traceId);

test('a sign-in is one trace: the request, its statements and the password hash', async () => {
  const { app, collector, done } = await startTraced();
  const account = await registerAccount(app);
  const [traceId, parentId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
  const response = await fetch(`${app.origin}/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', traceparent: `00-${traceId}-${parentId}-01` },
    body: JSON.stringify({ email: account.email, password: account.password }),
  });
  expect(response.status).toBe(200);
  await done();

  const spans = traceIn(collector.spans, traceId);
  const [request] = spans.filter(({ kind }) => kind === server);
  expect(request).toMatchObject({
    name: 'POST /auth/login',
    parentSpanId: parentId,
    attributes: { 'http.route': '/auth/login', 'http.request.method': 'POST', 'http.response.status_code': 200 },
  });
  const inner = spans.filter((span) => span !== request);
  expect(inner.filter(({ parentSpanId }) => parentSpanId !== request?.spanId)).toEqual([]);
  expect(inner.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['SELECT users', 'bcrypt compare', 'INSERT audit_events']),
  );
  expect(collector.requests[0]).toMatchObject({ url: '/v1/traces', service: 'latchkey-test' });
  expect(app.log.find(({ path, trace_id }) => path === '/auth/login' && trace_id === traceId)).toBeDefined();
});

test('the statements of a transaction are in the trace of the request, and another request on its connection is not', async () => {
  const { app, collector, done } = await startTraced();
  await registerAccount(app);
  await fetch(`${app.origin}/clients/nobody`);
  await done();
  const namesIn = (name: string) => {
    const request = collector.spans.find((span) => span.name === name);
    const inner = collector.spans.filter(({ parentSpanId }) => parentSpanId === request?.spanId);
    return inner.map((span) => span.name);
  };
  expect(namesIn('POST /auth/register')).toEqual(
    expect.arrayContaining(['BEGIN', 'INSERT users', 'INSERT audit_events', 'COMMIT']),
  );
  expect(namesIn('GET /clients/:client_id')).toEqual(['SELECT oidc_clients']);
});

test('no span holds an address, an id, a secret or a value of a statement', async () => {
  const { app, collector, done } = await startTraced();
  const account = await registerAccount(app);
  const registration = await registerClient(app);
  const rp = await discover(app, registration);
  const { tokens } = await signInThrough(app, rp, account);
  await rp.userinfo(tokens.access_token, account.sub);
  await expect(registerAccount(app, { email: account.email })).rejects.toThrow('email_taken');
  await done();
  expect(collector.spans.length).toBeGreaterThan(50);
  const sent = JSON.stringify(collector.spans.map(({ raw }) => raw));
  const { client_secret = '', client_id } = registration;
  for (const told of [account.email, account.name, account.sub, account.password, client_secret, client_id]) {
    expect(sent).not.toContain(told);
  }
  for (const token of [tokens.access_token, tokens.id_token ?? '']) expect(sent).not.toContain(token);
  expect(sent).toContain('$1');
});

test('what is asked of others is in the trace, and they are told its id', async () => {
  const documents = await startDocuments();
  onTestFinished(documents.close);
  const { app, collector, done } = await startTraced({ OUTBOUND_ALLOW: 'localhost' });
  const keys = await createClientKeys();
  let told: unknown;
  const jwks_uri = documents.answer('/jwks', (req, res) => {
    told = req.headers.traceparent;
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ keys: [keys.jwk] }));
  });
  const { client_id } = await registerClient(app, {
    redirect_uris: undefined,
    grant_types: ['client_credentials'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks_uri,
  });
  const answer = await fetch(`${app.issuer}/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_assertion_type: assertionType,
      client_assertion: await signWith(keys, assertionClaims(client_id, app.issuer)),
    }),
  });
  expect(answer.status, await answer.text()).toBe(200);
  await done();
  const outbound = collector.spans.find(({ attributes }) => attributes['server.address'] === 'localhost');
  expect(outbound).toMatchObject({ name: 'GET', kind: client, attributes: { 'http.response.status_code': 200 } });
  expect(told).toBe(`00-${outbound?.traceId}-${outbound?.spanId}-01`);
  const request = collector.spans.find(({ spanId }) => spanId === outbound?.parentSpanId);
  expect(request).toMatchObject({
    name: 'POST oidc.token',
    attributes: { 'latchkey.grant': 'client_credentials', 'latchkey.outcome': 'success' },
  });
});

test('statements that wait for a connection stay in the trace that sent them', async () => {
  const { app, collector, done } = await startTraced();
  const ids = await Promise.all(
    Array.from({ length: 40 }, async () => {
      const traceId = randomBytes(16).toString('hex');
      const traceparent = `00-${traceId}-${randomBytes(8).toString('hex')}-01`;
      await (await fetch(`${app.origin}/clients/nobody`, { headers: { traceparent } })).arrayBuffer();
      return traceId;
    }),
  );
  await done();
  const statements = ids.map((id) => traceIn(collector.spans, id).filter(({ kind }) => kind === client).length);
  expect(new Set(statements).size).toBe(1);
  expect(statements[0]).toBeGreaterThan(0);
});

test.each([
  ['always_off', '01', 0],
  ['parentbased_always_off', '01', 1],
  ['parentbased_always_on', '00', 0],
  ['traceidratio', '01', 0],
])('with OTEL_TRACES_SAMPLER=%s a caller that sends the flag %s has %i spans', async (sampler, flag, spans) => {
  const { app, collector, done } = await startTraced({ OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: '0' });
  const traceId = randomBytes(16).toString('hex');
  const traceparent = `00-${traceId}-${randomBytes(8).toString('hex')}-${flag}`;
  await fetch(`${app.origin}/livez`, { headers: { traceparent } });
  await done();
  expect(traceIn(collector.spans, traceId)).toHaveLength(spans);
});

test('a header that is no traceparent begins no trace of its making', async () => {
  const { app, collector, done } = await startTraced();
  const zeros = `00-${'0'.repeat(32)}-${'0'.repeat(16)}-01`;
  for (const traceparent of ['x', zeros, `ff-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, `00-${'A'.repeat(32)}-b-01`]) {
    await fetch(`${app.origin}/livez`, { headers: { traceparent } });
  }
  await done();
  expect(collector.spans.map(({ parentSpanId }) => parentSpanId || undefined)).toEqual(Array(4).fill(undefined));
});

test('a collector that is down is told of once, and is nobody else’s problem', async () => {
  const app = await startApp({ env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' } });
  expect((await fetch(`${app.origin}/livez`)).status).toBe(200);
  await app.close();
  expect(app.log.filter(({ msg }) => /traces do not reach/.test(msg))).toHaveLength(1);
});
