/** Mails as they are sent: plain text and HTML, made when they are sent, with the brand and the host of that moment. */
import { join } from 'node:path';
import ejs from 'ejs';
import type { Mail } from './mails.ts';
import { letterOf } from './words.ts';

export type Letters = {
  write(mail: Mail): Promise<WrittenMail>;
};

export type WrittenMail = { to: string; subject: string; text: string; html: string };

/** @param options.origin the configured one: what a request calls this server never comes into a mail (SECURITY 53) */
export function createLetters({ brand, origin }: { brand: string; origin: string }): Letters {
  const site = { brand, host: new URL(origin).host, lang: 'en', dir: 'ltr', href: (path: string) => origin + path };
  const options: ejs.Options = { strict: true, _with: false, destructuredLocals: ['site', 'letter'], async: false };
  return {
    async write(mail) {
      const data = { site, letter: letterOf(mail, brand) };
      const [html, text] = await Promise.all([
        ejs.renderFile(join(folder, 'letter.ejs'), data, options),
        // Plain text is no markup: a character stands for itself.
        ejs.renderFile(join(folder, 'letter-text.ejs'), data, { ...options, escape: String }),
      ]);
      return { to: mail.to, subject: data.letter.subject, html, text };
    },
  };
}

const folder = join(import.meta.dirname, '../../views/mail');
