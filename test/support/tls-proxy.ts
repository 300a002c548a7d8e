/** A proxy in front of the application that does what a test tells it, well or badly; with or without TLS. */
import {
  createServer as createHttpServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type RequestListener,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { endServer, listen } from './listen.ts';

export type ProxyBehaviour = {
  /** Where requests go; none yet: 502. */
  port?: number | undefined;
  /** Changes what is passed on. */
  onRequest?: (headers: IncomingHttpHeaders) => void;
  /** Changes what comes back. */
  onAnswer?: (headers: OutgoingHttpHeaders) => void;
  /** Answers itself. */
  redirect?: string;
};

export type TestProxy = {
  port: number;
  /** Until it is told otherwise it says who asks and by which protocol, and passes everything else on as it is. */
  behaviour: ProxyBehaviour;
  close(): Promise<void>;
};

export async function startProxy(tls?: { key: string; cert: string }): Promise<TestProxy> {
  const behaviour: ProxyBehaviour = {};
  const pass: RequestListener = (req, res) => {
    const { port, onRequest, onAnswer, redirect } = behaviour;
    if (redirect) return void res.writeHead(301, { location: redirect }).end();
    if (!port) return void res.writeHead(502).end('Bad Gateway');
    const headers = { ...req.headers };
    headers['x-forwarded-for'] = [headers['x-forwarded-for'], req.socket.remoteAddress].filter(Boolean).join(', ');
    headers['x-forwarded-proto'] = tls ? 'https' : 'http';
    onRequest?.(headers);
    const options = { host: '127.0.0.1', port, method: req.method, path: req.url, headers, agent: false as const };
    const onward = httpRequest(options, (answer) => {
      const back: OutgoingHttpHeaders = { ...answer.headers };
      onAnswer?.(back);
      res.writeHead(answer.statusCode ?? 502, back);
      answer.pipe(res);
    });
    onward.on('error', () => res.writeHead(502).end('Bad Gateway'));
    req.pipe(onward);
  };
  const server = tls ? createHttpsServer(tls, pass) : createHttpServer(pass);
  const port = await listen(server);
  return {
    port,
    behaviour,
    close: () => endServer(server),
  };
}
