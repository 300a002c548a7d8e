/** A real mail server on loopback: keeps what it is sent, and answers as a test wants. */
import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { text } from 'node:stream/consumers';
import { SMTPServer } from 'smtp-server';

export type SentMail = { from: string; to: string[]; raw: string };

/** What is said to a recipient or after the text; throws what `refuseWith` makes. */
export type MailServerOptions = {
  port?: number;
  onRecipient?: (address: string) => void;
  /** `sever` breaks the connection off where the answer would be. */
  onMail?: (mail: SentMail, sever: () => void) => void;
  user?: { name: string; password: string };
};

export function refuseWith(status: number): never {
  throw Object.assign(new Error(`no, ${status}`), { responseCode: status });
}

export async function startMailServer({ port = 0, onRecipient, onMail, user }: MailServerOptions = {}) {
  const received: SentMail[] = [];
  const answered = (work: () => void, callback: (error?: Error | null) => void) => {
    try {
      work();
      callback();
    } catch (error) {
      callback(error as Error);
    }
  };
  const server = new SMTPServer({
    logger: false,
    disabledCommands: user ? ['STARTTLS'] : ['STARTTLS', 'AUTH'],
    allowInsecureAuth: true,
    onAuth: ({ username, password }, _session, callback) => {
      if (username === user?.name && password === user?.password) callback(null, { user: username });
      else callback(new Error('wrong'));
    },
    onRcptTo: ({ address }, _session, callback) => answered(() => onRecipient?.(address), callback),
    onData: async (stream, { envelope }, callback) => {
      const raw = await text(stream);
      const { mailFrom } = envelope;
      const mail = { from: mailFrom ? mailFrom.address : '', to: envelope.rcptTo.map(({ address }) => address), raw };
      answered(() => {
        let severed = false;
        onMail?.(mail, () => {
          severed = true;
        });
        received.push(mail);
        if (severed) for (const connection of server.connections) connection._socket.destroy();
      }, callback);
    },
  });
  // A connection that breaks off is what some tests are about.
  server.on('error', () => {});
  const listening = server.listen(port, '127.0.0.1') as Server;
  await once(listening, 'listening');
  const login = user ? `${encodeURIComponent(user.name)}:${encodeURIComponent(user.password)}@` : '';
  const { port: actual } = listening.address() as AddressInfo;
  return {
    port: actual,
    url: `smtp://${login}127.0.0.1:${actual}`,
    received,
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

/** A header of a mail, unfolded. */
export function headerOf({ raw }: SentMail, name: string): string | undefined {
  const head = raw.slice(0, raw.indexOf('\r\n\r\n')).replace(/\r\n[ \t]+/g, ' ');
  return head
    .split('\r\n')
    .find((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`))
    ?.slice(name.length + 1)
    .trim();
}

/** All the text of a mail, its encoding undone. */
export function bodyOf({ raw }: SentMail): string {
  return raw
    .replace(/=\r\n/g, '')
    .replace(/(?:=[0-9A-F]{2})+/g, (bytes) => Buffer.from(bytes.replaceAll('=', ''), 'hex').toString());
}
