import type { WrittenMail } from './letters.ts';

/** Hands a mail to the mail server: resolves with its 250, throws `MailFailure` else. */
export type SendMail = (mail: WrittenMail & { id: string; createdAt: Date }, signal: AbortSignal) => Promise<void>;

/** `final` when the server refused this very mail for good (RFC 5321 §4.2.1); all else may be over by the next try. */
export class MailFailure extends Error {
  override name = 'MailFailure';
  readonly final: boolean;

  constructor(message: string, final: boolean) {
    super(message);
    this.final = final;
  }
}

const connectMs = 10_000;
const answerMs = 20_000;

export type SmtpOptions = {
  /** `smtp://user:password@host:port` or `smtps://…` */
  url: string;
  from: string;
  /** Of this server: the right side of every Message-ID. */
  origin: string;
  /** Nothing is sent before the connection is encrypted. */
  requireTls: boolean;
};

/** A connection a mail: few are sent, and none of them waits behind one that hangs. */
export function createSmtp(options: SmtpOptions): SendMail {
  const { from } = options;
  const { hostname } = new URL(options.origin);

  return async ({ id, createdAt, to, subject, text, html }, signal) => {
    try {
      const transport = await transportTo(options);
      await transport.sendMail({
        from,
        to: { name: '', address: to },
        subject,
        text,
        html,
        // The same at every try: a mail that arrives twice is recognised.
        messageId: `<${id}@${hostname.replace(/^\[|\]$/g, '')}>`,
        date: createdAt,
        // RFC 3834 §5: nobody's automatic answer is wanted.
        headers: { 'Auto-Submitted': 'auto-generated' },
        signal,
      });
    } catch (error) {
      throw failureOf(error);
    }
  };
}

async function transportTo({ url, requireTls }: Pick<SmtpOptions, 'url' | 'requireTls'>) {
  // 650 KB of code, and most processes of a server send nothing.
  const { createTransport } = await import('nodemailer');
  const server = new URL(url);
  return createTransport({
    host: server.hostname.replace(/^\[|\]$/g, ''),
    ...(server.port && { port: Number(server.port) }),
    secure: server.protocol === 'smtps:',
    requireTLS: requireTls,
    ...(server.username && {
      auth: { user: decodeURIComponent(server.username), pass: decodeURIComponent(server.password) },
    }),
    connectionTimeout: connectMs,
    greetingTimeout: connectMs,
    dnsTimeout: connectMs,
    socketTimeout: answerMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
}

export type SmtpProblem = { kind: 'unreached' | 'refused' | 'tls' | 'other'; reason: string };

/** Connects and signs in as sending does, and sends a line to `to` when given. Undefined when all went well. */
export async function probeSmtp(options: SmtpOptions, to?: string): Promise<SmtpProblem | undefined> {
  const transport = await transportTo(options);
  try {
    await transport.verify();
    if (to) {
      const host = new URL(options.origin).host;
      const text = `Mail from ${host} arrives. Somebody who runs that server asked for this with \`latchkey doctor\`.`;
      const headers = { 'Auto-Submitted': 'auto-generated' };
      await transport.sendMail({
        from: options.from,
        to: { name: '', address: to },
        subject: `Mail from ${host}`,
        text,
        headers,
      });
    }
    return undefined;
  } catch (error) {
    const { code = '', message = '' } = error as { code?: string; message?: string };
    const reason = failureOf(error).message;
    if (code === 'EAUTH') return { kind: 'refused', reason };
    if (code === 'ETLS' || /certificate|self.signed|wrong version number/i.test(message))
      return { kind: 'tls', reason };
    const unreached = ['ECONNECTION', 'ESOCKET', 'ETIMEDOUT', 'EDNS', 'ECONNREFUSED', 'ECONNRESET'].includes(code);
    return { kind: unreached ? 'unreached' : 'other', reason };
  } finally {
    transport.close();
  }
}

/** Neither the server's words nor the address are kept: they name people. */
function failureOf(error: unknown): MailFailure {
  const {
    code = 'unknown',
    command = '',
    responseCode,
  } = error as {
    code?: string;
    command?: string;
    responseCode?: number;
  };
  const stage = command ? ` at ${command}` : '';
  const reason = responseCode ? `answered ${responseCode}${stage}` : `${code}${stage}`;
  // A sender or a sign-in that is refused is the operator's to mend; a recipient or a content is not.
  const final = (responseCode ?? 0) >= 500 && ['RCPT TO', 'DATA'].includes(command);
  return new MailFailure(reason, final);
}
