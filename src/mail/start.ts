import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Database } from '../db/database.ts';
import type { Encryption } from '../keys/encryption.ts';
import type { Background } from '../lib/background.ts';
import { mailDelivery } from './delivery.ts';
import { createLetters, type Letters } from './letters.ts';
import { giveUpWaiting, keptMails } from './queue.ts';
import { createSmtp } from './smtp.ts';

export type MailDependencies = {
  db: Database;
  encryption: Encryption;
  background: Background;
  log: Logger;
  config: MailConfig & { brand: { name: string } };
};

export type MailConfig = {
  production: boolean;
  /** The public origin, `https://id.example`: where links lead. */
  origin: string;
  smtpUrl: string | undefined;
  mailFrom: string | undefined;
};

/** `send` to a mail server, `keep` for the outbox page, or `wait` for an operator who names a server. */
type MailSettings =
  | { mode: 'send'; url: string; from: string; requireTls: boolean }
  | { mode: 'keep' }
  | { mode: 'wait' };

/** In production a password and people's links go over no network in clear: this machine's own is none. */
export function mailSettings({ production, origin, smtpUrl, mailFrom }: MailConfig): MailSettings {
  if (!smtpUrl) return { mode: production ? 'wait' : 'keep' };
  const isLoopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(smtpUrl).hostname);
  return {
    mode: 'send',
    url: smtpUrl,
    from: mailFrom ?? `no-reply@${new URL(origin).hostname}`,
    requireTls: production && !isLoopback,
  };
}

export type MailService = {
  letters: Letters;
  /** Sends what was queued and is committed, without waiting for the next look. */
  wake(): void;
  /** Has what is under way end soon. */
  stop(): void;
};

const hourMs = 60 * 60 * 1000;

/** Starts what is done with queued mails. */
export function startMail({ db, encryption, background, log, config }: MailDependencies): MailService {
  const letters = createLetters({ brand: config.brand.name, origin: config.origin });
  const mail = mailSettings(config);
  switch (mail.mode) {
    case 'send': {
      const send = createSmtp({ ...mail, origin: config.origin });
      return { letters, ...mailDelivery({ db, encryption, letters, send, background, log }) };
    }
    case 'keep':
      background.repeat('keeping mails', hourMs, () => keptMails(db));
      return { letters, wake() {}, stop() {} };
    case 'wait':
      background.repeat('giving up mails', hourMs, async () => {
        const mails = await giveUpWaiting(db);
        if (mails > 0) log.warn({ mails }, 'mails given up: there is no mail server (SMTP_URL)');
      });
      return { letters, wake() {}, stop() {} };
  }
}

/** What a form queued goes out as soon as the form is answered, which is when it is committed. */
export function wakeAfterPost(wake: () => void) {
  return (req: IncomingMessage, res: ServerResponse, next: () => void): void => {
    if (req.method === 'POST') res.once('close', wake);
    next();
  };
}
