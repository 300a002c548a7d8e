/** Another party's web server on loopback, where clients publish their metadata. */
import { createServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { endServer, listen } from './listen.ts';

export type Documents = Awaited<ReturnType<typeof startDocuments>>;

/** `tls` makes it speak https, with a certificate for `localhost`. */
export async function startDocuments({ tls }: { tls?: { cert: string; key: string } } = {}) {
  const answers = new Map<string, RequestListener>();
  const asked: string[] = [];
  let connections = 0;
  const listener: RequestListener = (req, res) => {
    asked.push(req.url ?? '');
    const answer = answers.get(req.url ?? '');
    if (answer) answer(req, res);
    else res.writeHead(404).end();
  };
  const server = tls ? createHttpsServer(tls, listener) : createServer(listener);
  server.on('connection', () => {
    connections += 1;
  });
  const port = await listen(server);
  const origin = `${tls ? 'https' : 'http'}://localhost:${port}`;
  return {
    origin,
    host: new URL(origin).host,
    /** Paths, in the order in which they were asked for. */
    asked,
    connections: () => connections,
    /** Answers a path; the address is the client's id. */
    answer(path: string, listener: RequestListener): string {
      answers.set(path, listener);
      return origin + path;
    },
    /** Publishes a public client's document; members that are undefined are left out. */
    publish(path: string, changes: Record<string, unknown> = {}, headers: Record<string, string> = {}): string {
      const document = {
        client_id: origin + path,
        client_name: 'Kestrel Assistant',
        redirect_uris: ['http://127.0.0.1/callback'],
        token_endpoint_auth_method: 'none',
        ...changes,
      };
      return this.answer(path, (_req, res) => {
        res.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(document));
      });
    },
    close: () => endServer(server),
  };
}
