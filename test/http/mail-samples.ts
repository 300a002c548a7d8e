/** Data for the pages about mails, see view-samples.ts. */
import type { Problem } from '../../src/http/views.ts';
import type { Sample } from './view-samples.ts';

type Parts = { path: string; hidden: Record<string, string>; fix: (...ids: string[]) => Problem };

export function mailSamples(write: (text: string) => string, { path, hidden, fix }: Parts): Sample[] {
  const link = { action: path, hidden, email: write('Ada') };
  const [create, confirm] = ['Create your account', 'Confirm your email address'];
  const mail = { to: write('ada@moreno.example'), subject: write('Hello'), at: new Date('2026-03-12T09:41:07Z') };
  const text = [
    { text: write('Open this:\n'), link: false },
    { text: path, link: true },
  ];
  return [
    { name: 'check-email', title: 'Check your email', data: { about: 'register' } },
    { name: 'check-email', title: 'Check your email', data: { about: 'reset' } },
    { name: 'verify-email', title: confirm, data: { ...link, about: 'verify' } },
    { name: 'verify-email', title: create, data: { ...link, about: 'register' } },
    { name: 'verify-email', title: create, data: { ...link, about: 'register', password: {} } },
    {
      name: 'verify-email',
      title: `Problem: ${create}`,
      data: { ...link, about: 'register', password: { wrong: write('No.') }, problem: fix('password') },
    },
    { name: 'email-verified', title: 'Your address is confirmed', data: { email: write('ada@moreno.example') } },
    { name: 'link-ended', title: 'This link has been used', data: { taken: false, resendAction: path } },
    { name: 'link-ended', title: 'This link has been used', data: { taken: false, registerUrl: path } },
    { name: 'link-ended', title: 'This address has an account', data: { taken: true } },
    { name: 'outbox', title: 'Outbox', data: { mails: [] } },
    {
      name: 'outbox',
      title: 'Outbox',
      data: {
        mails: [
          { ...mail, id: 'mail-1', text },
          { ...mail, id: 'mail-2', text },
        ],
      },
    },
  ];
}
