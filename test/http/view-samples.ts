/** Data for every page, for tests that go through all of them. */
import type { ClientTile, Pages } from '../../src/http/views.ts';
import { accountSamples } from './account-samples.ts';
import { mailSamples } from './mail-samples.ts';
import { passkeySamples } from './passkey-samples.ts';
import { passwordSamples } from './password-samples.ts';
import { secondFactorSamples } from './second-factor-samples.ts';

/** What people, clients and operators may have written into a page. */
export const writings: Record<string, (text: string) => string> = {
  plain: (text) => text,
  hostile: (text) => `"><script>alert('${text}')</script><img src=x onerror=alert(1)> style="x" & \`\${1}\` <%= 1 %>`,
  'long and from right to left': (text) => `${'مكتبة '.repeat(40)}${'W'.repeat(400)}${text}`,
};

/** `quiet`: nothing on it is the one thing to do, so no button is filled. */
export type Sample = {
  [Name in keyof Pages]: { name: Name; title: string; data: Pages[Name]; quiet?: true };
}[keyof Pages];

/** Every page in its fullest form, with and without a problem. */
export function samples(write: (text: string) => string): Sample[] {
  const path = `/way?on=${write('on')}`;
  const client: ClientTile = {
    name: write('Fernwood Library'),
    logoUrl: `/logos/${write('fernwood')}`,
    uri: `https://fernwood.example/${write('')}`,
    host: write('fernwood.example'),
    policyUri: `https://fernwood.example/${write('policy')}`,
    tosUri: `https://fernwood.example/${write('terms')}`,
    unverified: true,
  };
  const hidden = { return_to: write('/account'), [write('state')]: 'x' };
  const mark = { reference: write('req_1'), at: new Date('2026-03-12T09:41:07Z') };
  const account = { email: write('ada@moreno.example') };
  const right = { value: write('Ada') };
  const wrong = { ...right, wrong: write('That’s not it.') };
  const fix = (...ids: string[]) => ({
    title: write('Things to fix.'),
    text: write('So it is.'),
    fields: ids.map((id) => ({ id, text: write('Mend this.') })),
    link: { href: path, before: write('Or '), text: write('go on'), after: write('.') },
  });
  const row = { title: write('See your name'), detail: write('Ada'), checked: true };
  const way = { url: path, label: write('Go on') };
  const signIn = { action: path, client, email: right, password: {}, hidden, registerUrl: path, forgotUrl: path };
  const register = { action: path, client, name: right, email: right, password: {}, hidden, signInUrl: path };
  const profile = (field: { value: string; wrong?: string }) => Object.fromEntries(claims.map((name) => [name, field]));
  const start = { issuer: 'https://id.example/oidc', discoveryUrl: path, playground: true, registration: true };
  const app = {
    clientId: write('fernwood'),
    name: write('Fernwood'),
    since: mark.at,
    scopes: [write('See your name')],
  };
  const consent = {
    action: path,
    account,
    anotherAccountUrl: path,
    hidden,
    details: [{ ...row, value: '0' }],
    claims: [{ ...row, value: 'address' }],
  };
  const scopes = [
    { ...row, value: 'openid', required: true },
    { ...row, value: 'profile', required: false },
    { ...row, value: write('x').replaceAll(/\s/g, ''), required: false, checked: false },
  ];
  return [
    { name: 'index', title: 'One account', data: { ...start, clientRegistration: 'open' } },
    {
      name: 'index',
      title: 'One account',
      data: { ...start, signedIn: { ...account, name: write('Ada') }, clientRegistration: 'token' },
    },
    { name: 'sign-in', title: 'Sign in', data: { ...signIn, cancel: { action: path }, passkeys: true } },
    {
      name: 'sign-in',
      title: 'Problem: Sign in',
      data: { ...signIn, email: wrong, password: { wrong: write('No.') }, problem: fix('email', 'password') },
    },
    { name: 'register', title: 'Create your account', data: register },
    {
      name: 'register',
      title: 'Problem: Create your account',
      data: { ...register, name: wrong, email: wrong, problem: fix('name', 'email') },
    },
    { name: 'consent', title: 'Share with', data: { ...consent, client, scopes } },
    { name: 'consent', title: 'Share with', data: { ...consent, client: { ...client, unverified: false }, scopes } },
    {
      name: 'consent',
      title: 'Share with',
      data: { ...consent, client: { ...client, documentHost: write('app.example') }, scopes },
    },
    {
      name: 'interrupted',
      title: 'This sign-in got interrupted',
      data: {
        client,
        reason: 'expired',
        restart: way,
        byDevice: false,
        otherUrl: path,
        otherLabel: way.label,
        ...mark,
      },
    },
    {
      name: 'interrupted',
      title: 'This sign-in got interrupted',
      data: { client, reason: 'expired', restart: way, byDevice: true, otherUrl: path, otherLabel: way.label, ...mark },
    },
    { name: 'device', title: 'Connect a device', data: { action: path, code: right, hidden } },
    {
      name: 'device',
      title: 'Problem: Connect a device',
      data: { action: path, code: wrong, problem: fix(), hidden },
    },
    {
      name: 'device-confirm',
      title: 'Connect',
      data: {
        action: path,
        client,
        userCode: 'WDJB-MJHT',
        scopes: [row.title, row.title],
        account: { ...account, another: write('other') },
        elsewhere: '2001:db8:85a3:1234:5678:8a2e:370:7334',
        hidden,
      },
    },
    {
      name: 'device-confirm',
      title: 'Connect',
      data: { action: path, client: { ...client, unverified: false }, userCode: 'WDJB-MJHT', scopes: [], hidden },
    },
    { name: 'device-ended', title: 'Your device is connected', data: { outcome: 'approved', client, signedIn: true } },
    { name: 'device-ended', title: 'Nothing was connected', data: { outcome: 'denied', client, signedIn: false } },
    {
      name: 'error',
      title: write('It broke').slice(0, 2),
      data: { title: write('It broke'), text: [write('Try again.')], client, action: way, second: way, ...mark },
    },
    { name: 'logout', title: 'Sign out?', data: { action: path, client, account, hidden } },
    { name: 'logged-out', title: 'You’re signed out', data: { client, continueUrl: path } },
    {
      name: 'account',
      title: 'Your account',
      data: {
        ...account,
        name: write('Ada'),
        emailVerified: true,
        tries: { failed: 12, since: mark.at },
        notice: write('Done.'),
      },
    },
    {
      name: 'account',
      title: 'Your account',
      data: { ...account, name: write('Ada'), emailVerified: false },
    },
    ...mailSamples(write, { path, hidden, fix }),
    ...secondFactorSamples(write, { path, client, hidden, fix }),
    ...accountSamples(write, { path, app, hidden, fix }),
    ...passkeySamples(write, { path, fix }),
    ...passwordSamples(write, { path, client, hidden, fix }),
    { name: 'profile', title: 'Your profile', data: { fields: profile(right), notice: write('Saved.') } },
    { name: 'profile', title: 'Problem: Your profile', data: { fields: profile(wrong), problem: fix(...claims) } },
    { name: 'password', title: 'Your password', data: { email: right.value, current: {}, wanted: {} } },
    {
      name: 'password',
      title: 'Problem: Your password',
      data: {
        email: right.value,
        current: { wrong: wrong.wrong },
        wanted: { wrong: wrong.wrong },
        problem: fix('current_password', 'new_password'),
      },
    },
  ];
}

/** The names of the profile's fields. */
export const claims =
  'name given_name family_name middle_name nickname preferred_username profile picture website gender birthdate zoneinfo locale phone_number street_address locality region postal_code country'.split(
    ' ',
  );
