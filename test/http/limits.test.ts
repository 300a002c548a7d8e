/** Whoever sends slowly or says nothing is sent away, and costs nobody else anything. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { httpLimits, limitConnections } from '../../src/ops/http-limits.ts';
import { startAppForTest } from '../support/app.ts';
import { listen } from '../support/listen.ts';

const soon = { headersTimeout: 300, requestTimeout: 600, keepAliveTimeout: 300, connectionsCheckingInterval: 30 };

/** The application behind the server's own limits, with other times. */
async function startLimited(times: Partial<typeof httpLimits> = {}) {
  const app = await startAppForTest();
  const server = limitConnections(createServer({ ...httpLimits, ...times }, app.app.handler));
  const port = await listen(server);
  onTestFinished(() => void server.close().closeAllConnections());
  return {
    server,
    app,
    async send(words: string): Promise<{ socket: Socket; answer: Promise<string> }> {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      socket.write(words);
      return { socket, answer: allOf(socket) };
    },
  };
}

/** What came until the end, also when that was a rude one: who is sent away in mid-sentence may be reset. */
function allOf(socket: Socket): Promise<string> {
  let all = '';
  socket.setEncoding('utf8').on('data', (text: string) => {
    all += text;
  });
  socket.on('error', () => {});
  return new Promise((resolve) => socket.once('close', () => resolve(all)));
}

const head = 'POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 60\r\n';
const lastGet = 'GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

test('slow headers, a slow body, silence and a connection that is kept for nothing all end', async () => {
  const { send, app } = await startLimited(soon);
  const slow = {
    headers: await send('POST /auth/login HTTP/1.1\r\nHost: a\r\nX-A: '),
    body: await send(`${head}\r\n{"email":`),
    silence: await send(''),
  };
  const dripping = setInterval(() => {
    slow.headers.socket.write('a');
    slow.body.socket.write(' ');
  }, 50);
  const statuses = Object.entries(slow).map(async ([name, { answer }]) => [name, (await answer).slice(9, 12)]);
  expect(Object.fromEntries(await Promise.all(statuses))).toEqual({ headers: '408', body: '408', silence: '408' });
  clearInterval(dripping);
  const { answer } = await send('GET /livez HTTP/1.1\r\nHost: a\r\n\r\n');
  expect(await answer, 'ended by the server').toMatch(/^HTTP\/1.1 200 /);
  expect(app.log.filter(({ level }) => level >= 50)).toEqual([]);
});

test('headers have a size, a body too', async () => {
  const { send } = await startLimited();
  const large = 'x'.repeat(httpLimits.maxHeaderSize);
  const { answer } = await send(`GET /livez HTTP/1.1\r\nHost: a\r\nX-A: ${large}\r\n\r\n`);
  expect(await answer).toMatch(/^HTTP\/1.1 431 /);
  const body = await send(`${head.replace('60', '100000')}Connection: close\r\n\r\n${'x'.repeat(100_000)}`);
  expect(await body.answer).toMatch(/^HTTP\/1.1 413 /);
});

test('connections over their number are hung up on, and welcome again when others have left', async () => {
  const { send, server } = await startLimited();
  server.maxConnections = 2;
  const [first] = [await send(''), await send('')];
  const dropped = once(server, 'drop');
  const third = await send(lastGet).catch(() => undefined);
  await dropped;
  expect((await third?.answer) ?? '').not.toContain('200');
  const left = new Promise((resolve) => first?.socket.once('close', resolve));
  first?.socket.end();
  await left;
  const { answer } = await send(lastGet);
  expect(await answer).toMatch(/^HTTP\/1.1 200 /);
});
