/** What people find in their mail: the outbox of a server that sends none. */
import { expect } from 'vitest';

export type ReceivedMail = {
  id: string;
  template: string;
  to: string;
  subject: string;
  text: string;
  html: string;
  /** Addresses in the text, in their order. */
  links: string[];
  at: string;
};

type Server = { origin: string };

/** The mails to an address, newest first. Nothing needs to be waited for: they are queued with what they tell of. */
export async function readMails(server: Server, to?: string): Promise<ReceivedMail[]> {
  const response = await fetch(`${server.origin}/dev/outbox`, { headers: { accept: 'application/json' } });
  expect(response.status).toBe(200);
  const mails = (await response.json()) as ReceivedMail[];
  return to === undefined ? mails : mails.filter((mail) => mail.to === to);
}

/** The newest mail to an address, of that kind when it matters. */
export async function readMail(server: Server, to: string, template?: string): Promise<ReceivedMail> {
  const mails = await readMails(server, to);
  const mail = mails.find((each) => template === undefined || each.template === template);
  expect(mail, `mails to ${to}: ${mails.map((each) => each.template).join(', ')}`).toBeDefined();
  return mail as ReceivedMail;
}

/** The first link of the newest mail of that kind. */
export async function readLink(server: Server, to: string, template?: string): Promise<string> {
  const [link] = (await readMail(server, to, template)).links;
  expect(link).toBeDefined();
  return link as string;
}
