import { describe, expect, test } from 'vitest';
import { emailAddress } from '../../src/accounts/email-address.ts';
import { fieldProblems } from '../../src/accounts/field-problems.ts';
import { ProfileForm } from '../../src/accounts/profile.ts';
import { RegistrationForm, registerPage } from '../../src/accounts/registration.ts';
import { LoginForm, signInPage } from '../../src/accounts/sign-in-page.ts';
import { issuesOf } from '../../src/http/body.ts';

const issues = (schema: typeof LoginForm | typeof RegistrationForm | typeof ProfileForm, body: unknown) => {
  const result = schema.safeParse(body);
  return result.success ? [] : issuesOf(result.error);
};

describe('e-mail addresses', () => {
  test.each([
    'ada@moreno.example',
    ' Ada.L+tag@sub.Moreno.Example ',
    'ada@münchen.example',
    'ädä@moreno.example',
    "o'neil@x-y.example",
  ])('%s is one', (typed) => {
    expect(emailAddress.parse(typed)).toBe(typed.trim());
  });

  test.each([
    'ada',
    'ada@',
    '@moreno.example',
    'ada@moreno',
    'a b@moreno.example',
    'ada@@moreno.example',
    'a@b@c.example',
    'ada@-.example',
    'ada@moreno..example',
    '.ada@moreno.example',
    'ada@moreno.example,eve@moreno.example',
    'Ada <ada@moreno.example>',
    'ada@127.0.0.1',
    `${'a'.repeat(65)}@moreno.example`,
  ])('%s is none', (typed) => {
    expect(emailAddress.safeParse(typed).error?.issues[0]?.message).toBe('Enter an address like name@example.com.');
  });

  test.each([
    'ada\0@moreno.example',
    'ada\r\nbcc:eve@moreno.example',
    'ada\ufffd@moreno.example',
    `${'a'.repeat(300)}@moreno.example`,
    ['ada@moreno.example'],
    7,
    null,
  ])('%j is refused', (typed) => {
    expect(emailAddress.safeParse(typed).success).toBe(false);
  });
});

describe('the sign-in form', () => {
  const place = { action: '/auth/login', hidden: {} };

  test('says for each field what is missing', () => {
    expect(issues(LoginForm, {})).toEqual([
      { path: 'email', message: 'Enter your email address.' },
      { path: 'password', message: 'Enter your password.' },
    ]);
    const { status, data } = signInPage(place, {
      email: '',
      problem: { outcome: 'invalid', issues: issues(LoginForm, { email: ' ', password: '' }) },
    });
    expect(status).toBe(422);
    expect(data).toMatchObject({
      email: { value: '', wrong: 'Enter your email address.' },
      password: { wrong: 'Enter your password.' },
      problem: {
        title: '2 things to fix.',
        fields: [
          { id: 'email', text: 'Enter your email address.' },
          { id: 'password', text: 'Enter your password.' },
        ],
      },
    });
  });

  test('keeps the address, and offers a reset where there is one', () => {
    const rejected = { email: 'ada@moreno.example', problem: { outcome: 'rejected' as const } };
    expect(signInPage(place, rejected).data).toMatchObject({
      email: { value: 'ada@moreno.example' },
      problem: { title: 'That email and password don’t match.', text: 'Check both and try again.' },
    });
    expect(signInPage({ ...place, forgotUrl: '/auth/forgot-password' }, rejected).data.problem?.link).toEqual({
      href: '/auth/forgot-password',
      before: 'Check both and try again, or ',
      text: 'reset your password',
      after: '.',
    });
  });

  test('says how long to wait', () => {
    const throttled = (retryAfterSeconds: number) =>
      signInPage(place, { problem: { outcome: 'throttled', retryAfterSeconds } });
    expect(throttled(900)).toMatchObject({
      status: 429,
      data: { problem: { title: 'Too many tries.', text: 'Wait 15 minutes, then try again.' } },
    });
    expect(throttled(31).data.problem?.text).toBe('Wait a minute, then try again.');
  });
});

describe('the registration form', () => {
  test('reports everything at once', () => {
    expect(issues(RegistrationForm, { email: 'ada', password: 'secret' })).toEqual([
      { path: 'name', message: 'Enter your name.' },
      { path: 'email', message: 'Enter an address like name@example.com.' },
      { path: 'password', message: 'That’s 6 characters. Use at least 8.' },
    ]);
  });

  test('shows what was typed again, the password apart', () => {
    const body = { name: 'Ada', email: 'ada', password: 'secret' };
    const page = registerPage(
      { action: '/auth/register', hidden: {}, signInUrl: '/auth/login' },
      { body, problem: { outcome: 'invalid', issues: issues(RegistrationForm, body) } },
    );
    expect(page).toMatchObject({
      status: 422,
      data: { name: { value: 'Ada' }, email: { value: 'ada' }, problem: { title: '2 things to fix.' } },
    });
    expect(JSON.stringify(page)).not.toContain('secret');
  });

  test('one problem is one thing, and a field’s first problem is the one shown', () => {
    const { problem, wrong } = fieldProblems([
      { path: 'name', message: 'first' },
      { path: 'name', message: 'second' },
    ]);
    expect(problem).toEqual({ title: 'One thing to fix.', fields: [{ id: 'name', text: 'first' }] });
    expect(wrong('name')).toEqual({ wrong: 'first' });
    expect(wrong('email')).toEqual({});
  });
});

describe('the profile form', () => {
  test('a field left out stays, an empty one goes, the name cannot', () => {
    expect(ProfileForm.parse({ given_name: 'Ada', nickname: ' ' })).toEqual({ givenName: 'Ada', nickname: null });
    expect(issues(ProfileForm, { name: ' ' })).toEqual([{ path: 'name', message: 'Enter your name.' }]);
  });

  test('nothing but a profile can be changed', () => {
    expect(
      ProfileForm.parse({
        id: 'u_2',
        email: 'eve@moreno.example',
        email_verified: true,
        passwordHash: 'x',
        suspendedAt: null,
      }),
    ).toEqual({});
  });

  test.each([
    ['website', 'https://moreno.example/'],
    ['birthdate', '1994-06-27'],
    ['birthdate', '0000-02-29'],
    ['birthdate', '1994'],
    ['zoneinfo', 'Europe/Lisbon'],
    ['locale', 'pt-BR'],
    ['phone_number', '+351 (21) 000-0000'],
    ['street_address', 'Rua do Norte 5\r\n2.º'],
  ])('%s may be %s', (field, value) => {
    expect(Object.values(ProfileForm.parse({ [field]: value }))).toEqual([value.replace('\r\n', '\n')]);
  });

  test.each([
    ['website', 'javascript:alert(1)'],
    ['picture', 'data:image/png;base64,AA=='],
    ['profile', 'moreno.example'],
    ['birthdate', '1994-02-30'],
    ['birthdate', '27/06/1994'],
    ['birthdate', '0000'],
    ['zoneinfo', 'Lisbon'],
    ['zoneinfo', '+01:00'],
    ['locale', 'not a language'],
    ['phone_number', '21 000 0000'],
    ['phone_number', '+1'],
    ['street_address', 'Rua\0'],
    ['nickname', 'a\nb'],
    ['nickname', 'x'.repeat(201)],
    ['given_name', ['Ada']],
  ])('%s may not be %j', (field, value) => {
    expect(issues(ProfileForm, { [field]: value })).toMatchObject([{ path: field }]);
  });
});
