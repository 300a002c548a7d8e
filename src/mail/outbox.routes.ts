import { type Request, type Response, Router } from 'express';
import type { Database } from '../db/database.ts';
import type { OutboxMail } from '../http/mail-pages.ts';
import type { Pages } from '../http/pages.ts';
import type { Encryption } from '../keys/encryption.ts';
import type { Letters, WrittenMail } from './letters.ts';
import { keptMails, openMail } from './queue.ts';

export type OutboxDependencies = { db: Database; encryption: Encryption; letters: Letters; pages: Pages };

/** The mails of a server that sends none, for whoever develops with it. Never mounted in production. */
export function outboxRoutes({ db, encryption, letters, pages }: OutboxDependencies): Router {
  const router = Router();

  router.get('/dev/outbox', showOutbox);

  async function showOutbox(req: Request, res: Response): Promise<void> {
    const written = await Promise.all((await keptMails(db)).map(write));
    const mails = written.filter((mail) => mail !== undefined);
    if (req.accepts(['json', 'html']) === 'html') {
      return pages.page(res, 'outbox', { mails: mails.map(inPieces) });
    }
    res.set('Cache-Control', 'no-store').json(mails.map(forPrograms));
  }

  /** What a key that is gone sealed cannot be shown. */
  async function write(row: Awaited<ReturnType<typeof keptMails>>[number]): Promise<KeptMail | undefined> {
    if (encryption.sealedBy(row.messageEncrypted) === 'unknown') return undefined;
    const mail = openMail(encryption, row);
    return { id: row.id, template: mail.template, at: row.createdAt, ...(await letters.write(mail)) };
  }

  return router;
}

type KeptMail = WrittenMail & { id: string; template: string; at: Date };

function forPrograms({ id, template, at, to, subject, text, html }: KeptMail) {
  return { id, template, to, subject, text, html, links: linksOf(text), at: at.toISOString() };
}

function inPieces({ id, to, subject, at, text }: KeptMail): OutboxMail {
  const pieces = text.split(/(https?:\/\/\S+)/).map((piece, position) => ({ text: piece, link: position % 2 === 1 }));
  return { id: `mail-${id}`, to, subject, at, text: pieces };
}

function linksOf(text: string): string[] {
  return text.match(/https?:\/\/\S+/g) ?? [];
}
