/** What mails say. */
import { describe, expect, test } from 'vitest';
import { createLetters } from '../../src/mail/letters.ts';
import { type Mail, noticeKinds } from '../../src/mail/mails.ts';
import { tagsOf, valuesOf } from '../http/tags.ts';

const origin = 'https://id.northgate.example';
const letters = createLetters({ brand: 'Northgate & Söhne', origin });
const to = 'ada@moreno.example';
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)> & <%= 1 %>`;

const every: Mail[] = [
  { template: 'verify-email', to, data: { path: '/auth/verify-email?token=x&a=1', hours: 24 } },
  { template: 'register', to, data: { path: '/auth/verify-email?token=x', hours: 1 } },
  { template: 'already-registered', to, data: { signInPath: '/auth/login', resetPath: '/auth/forgot-password' } },
  { template: 'reset-password', to, data: { path: '/auth/reset-password?token=x', minutes: 30 } },
  {
    template: 'change-email-new',
    to,
    data: { path: '/auth/change?token=x', hours: 24, oldEmail: hostile, alone: false },
  },
  { template: 'change-email-taken', to, data: { signInPath: '/auth/login' } },
  {
    template: 'change-email-old',
    to,
    data: { path: '/a?token=x', cancelPath: '/b?token=y', hours: 24, newEmail: hostile },
  },
  ...noticeKinds.map((kind): Mail => {
    const facts = { address: '192.0.2.1', device: 'Firefox on Linux', detail: hostile, until: '2026-04-01T00:00:00Z' };
    return { template: 'notice', to, data: { kind, at: '2026-03-12T09:41:07Z', ...facts } };
  }),
];

describe.each(every.map((mail) => [mail.template === 'notice' ? mail.data.kind : mail.template, mail] as const))(
  '%s',
  (_name, mail) => {
    test('has a subject in one line, text and HTML with the same links, all of them here', async () => {
      const { subject, text, html } = await letters.write(mail);
      expect(subject).toMatch(/^[A-Z][^\r\n]{5,60}$/);
      const inText = text.match(/https?:\/\/\S+/g) ?? [];
      const inHtml = valuesOf(tagsOf(html), 'href').filter((href) => href !== '');
      expect(inText.length).toBeGreaterThan(0);
      expect(new Set(inHtml)).toEqual(new Set(inText));
      for (const link of inText) expect(new URL(link).origin).toBe(origin);
      expect(text).toContain('Sent by id.northgate.example');
      expect(text).not.toMatch(/&(amp|lt|#)|undefined|\[object/);
      expect(html).not.toMatch(/undefined|\[object/);
      expect(text).not.toMatch(/\n{3}/);
    });

    test('loads nothing and runs nothing, whatever is written into it', async () => {
      const { html } = await letters.write(mail);
      const tags = tagsOf(html);
      expect(tags.filter(({ name }) => ['script', 'img', 'link', 'iframe', 'object'].includes(name))).toEqual([]);
      expect(valuesOf(tags, 'src')).toEqual([]);
      expect(tags.flatMap(({ attributes }) => Object.keys(attributes)).filter((key) => key.startsWith('on'))).toEqual(
        [],
      );
      expect(tags.filter(({ name }) => name === 'h1')).toHaveLength(1);
      expect(tags.find(({ name }) => name === 'html')?.attributes).toEqual({ lang: 'en', dir: 'ltr' });
    });
  },
);
