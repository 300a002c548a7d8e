/** A client's back-channel logout endpoint on loopback: keeps what it is sent, and answers as a test wants. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { endServer, listen } from './listen.ts';

export type LogoutRequest = { contentType: string | undefined; body: URLSearchParams };
export type LogoutAnswer = (res: ServerResponse, req: IncomingMessage) => void;

export type LogoutReceiver = Awaited<ReturnType<typeof startLogoutReceiver>>;

export const accepts: LogoutAnswer = (res) => void res.end();
export const hangs: LogoutAnswer = () => {};
export const refusesWith =
  (status: number): LogoutAnswer =>
  (res) =>
    void res.writeHead(status).end();

export async function startLogoutReceiver(answer: LogoutAnswer = accepts) {
  const received: LogoutRequest[] = [];
  const waiting: (() => void)[] = [];
  const server = createServer(async (req, res) => {
    received.push({ contentType: req.headers['content-type'], body: new URLSearchParams(await text(req)) });
    for (const wake of waiting.splice(0)) wake();
    receiver.answer(res, req);
  });
  const port = await listen(server);
  let taken = 0;
  const receiver = {
    uri: `http://127.0.0.1:${port}/backchannel-logout`,
    received,
    answer,
    connections: 0,
    /** The next logout token; waits for one when all that came are taken. */
    async next(): Promise<string> {
      while (received.length <= taken) await new Promise<void>((resolve) => waiting.push(resolve));
      taken += 1;
      return received[taken - 1]?.body.get('logout_token') ?? '';
    },
    close: () => endServer(server),
  };
  server.on('connection', () => {
    receiver.connections += 1;
  });
  return receiver;
}
