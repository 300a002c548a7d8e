import { describe, expect, test } from 'vitest';
import { createViews, type Pages } from '../../src/http/views.ts';
import { quietPages } from './account-samples.ts';
import { byClass, byId, type Tag, tagsOf, valuesOf } from './tags.ts';
import { claims, type Sample, samples, writings } from './view-samples.ts';

const views = createViews({
  brand: { name: 'Northgate', logoUrl: undefined, hue: 178 },
  host: 'id.northgate.example',
  cache: true,
});

async function render({ name, data }: Sample): Promise<Tag[]> {
  return tagsOf(await views.render(name, data as never));
}

describe.each(Object.entries(writings))('with %s data', (kind, write) => {
  const cases = samples(write).map((sample, position) => [`${sample.name} (${position})`, sample, position] as const);

  test.each(cases)('%s has one heading, one filled button and its title', async (_, sample) => {
    const tags = await render(sample);
    expect(tags.filter(({ name }) => name === 'h1')).toHaveLength(1);
    expect(byClass(tags, 'btn', 'main')).toHaveLength(quietPages.includes(sample.name) || sample.quiet ? 0 : 1);
    const title = tags.find(({ name }) => name === 'title')?.text ?? '';
    expect(title.startsWith(sample.title)).toBe(true);
    expect(title.endsWith(' – Northgate')).toBe(true);
    expect(tags.find(({ name }) => name === 'html')?.attributes).toEqual({ lang: 'en', dir: 'ltr' });
    expect(tags.some(({ attributes }) => attributes.name === 'robots' && attributes.content === 'noindex')).toBe(true);
  });

  test.each(cases)('%s has the same tags whatever is written into it (SECURITY 40)', async (_, sample, position) => {
    const shape = (tags: Tag[]) => tags.map(({ name, attributes }) => `${name} ${Object.keys(attributes).join(' ')}`);
    const plain = samples((text) => text)[position];
    expect(shape(await render(sample))).toEqual(plain && shape(await render(plain)));
  });

  test.each(cases)('%s needs nothing inline and nothing from elsewhere (SECURITY 25, 26)', async (_, sample) => {
    const tags = await render(sample);
    expect(tags.filter(({ name }) => name === 'style')).toEqual([]);
    expect(
      tags.flatMap(({ attributes }) => Object.keys(attributes)).filter((key) => /^(style|on.*)$/.test(key)),
    ).toEqual([]);
    expect(
      tags.filter(({ name }) => name === 'script').map(({ attributes, text }) => [attributes.src, text.trim()]),
    ).toEqual([['/assets/app.js', '']]);
    const links = tags.filter(({ name }) => name === 'link').map(({ attributes }) => attributes.href);
    expect(links).toEqual(['/assets/mark.svg', '/assets/app.css', '/assets/brand.css']);
    for (const source of valuesOf(tags, 'src')) expect(source).toMatch(/^\/[^/]/);
  });

  test.each(cases)('%s points only at what is there', async (_, sample) => {
    const tags = await render(sample);
    const ids = valuesOf(tags, 'id');
    expect(new Set(ids).size).toBe(ids.length);
    const named = ['aria-describedby', 'aria-labelledby', 'aria-controls', 'for', 'list'].flatMap((key) =>
      valuesOf(tags, key),
    );
    const anchors = valuesOf(tags, 'href').filter((href) => href.startsWith('#'));
    const targets = [...named.flatMap((value) => value.split(' ')), ...anchors.map((href) => href.slice(1))];
    expect(targets.filter((id) => !ids.includes(id))).toEqual([]);
    for (const { attributes } of tags) {
      if (attributes['aria-invalid']) expect(attributes['aria-describedby']).toMatch(/-wrong\b/);
    }
  });

  test.each(cases)('%s keeps what was typed, passwords apart', async (_, sample) => {
    const inputs = (await render(sample)).filter(({ name }) => name === 'input' || name === 'textarea');
    for (const { name, attributes, text } of inputs) {
      // What is good once need not be shown again.
      if (attributes.autocomplete === 'one-time-code' && attributes.value === undefined) continue;
      if (attributes.type === 'password') expect(attributes.value).toBeUndefined();
      else if (attributes.type !== 'hidden' && attributes.type !== 'checkbox') {
        expect(name === 'textarea' ? text.trim() : attributes.value).toBe(write('Ada').trim());
      } else if (attributes.name === 'return_to') expect(attributes.value).toBe(write('/account'));
    }
  });

  test(`a problem is announced, and only a problem (${kind})`, async () => {
    for (const sample of samples(write)) {
      const isProblem = 'problem' in sample.data || problemPages.includes(sample.name);
      const alerts = (await render(sample)).filter(({ attributes }) => attributes.role === 'alert');
      expect(alerts, sample.title).toHaveLength(isProblem ? 1 : 0);
    }
  });
});

const problemPages = ['error', 'interrupted', 'link-ended', 'reset-ended', 'change-email-ended'];

/** The first sample of a page, in plain data, with some of it changed. */
async function page<Name extends keyof Pages>(name: Name, change: Partial<Pages[Name]> = {}): Promise<Tag[]> {
  const sample = samples((text) => text).find((one) => one.name === name);
  return tagsOf(await views.render(name, { ...(sample?.data as Pages[Name]), ...change }));
}

/** The named controls of a form, in source order. */
function controlsOf(tags: Tag[], formId: string): Tag[] {
  const start = tags.findIndex(({ attributes }) => attributes.id === formId);
  expect(tags[start]).toMatchObject({ name: 'form', attributes: { method: 'post' } });
  const rest = tags.slice(start + 1);
  const end = rest.findIndex(({ name }) => name === 'form');
  return (end < 0 ? rest : rest.slice(0, end)).filter(({ name }) => /^(input|button|textarea)$/.test(name));
}

const submitters = (controls: Tag[]) =>
  controls.filter(({ name, attributes }) => name === 'button' && attributes.type !== 'button');

describe('the hooks that automation relies on', () => {
  test.each([
    ['sign-in', 'login', ['email', 'password'], 'login-submit'],
    ['register', 'register', ['name', 'email', 'password'], 'register-submit'],
    ['device', 'device', ['user_code'], 'device-submit'],
  ] as const)('%s has form#%s', async (name, form, fields, button) => {
    const controls = controlsOf(await page(name), form);
    expect(
      controls.map(({ attributes }) => attributes.name).filter((one) => fields.some((field) => field === one)),
    ).toEqual([...fields]);
    for (const field of fields) expect(byId(controls, field)?.attributes.name).toBe(field);
    expect(submitters(controls).map(({ attributes }) => attributes.id)).toContain(button);
    expect(submitters(controls)[0]?.attributes.id).toBe(button);
  });

  test('Enter on the consent page does not grant: "Don’t allow" is the first submit button in source', async () => {
    const controls = controlsOf(await page('consent'), 'consent');
    expect(submitters(controls).map(({ attributes: { id, name, value } }) => ({ id, name, value }))).toEqual([
      { id: 'consent-deny', name: 'decision', value: 'deny' },
      { id: 'consent-approve', name: 'decision', value: 'allow' },
    ]);
    const boxes = controls.filter(({ attributes }) => attributes.type === 'checkbox');
    expect(boxes.map(({ attributes: { name, value, checked } }) => [name, value, checked === ''])).toEqual([
      ['scope', 'profile', true],
      ['scope', 'x', false],
      ['detail', '0', true],
      ['claim', 'address', true],
    ]);
  });

  test('a device is connected by one button and refused by its neighbour, which comes first', async () => {
    const buttons = submitters(controlsOf(await page('device-confirm'), 'device-confirm'));
    expect(buttons.map(({ attributes: { id, name, value } }) => [id, name, value])).toEqual([
      ['device-another', 'confirm', 'other'],
      ['device-deny', 'abort', 'yes'],
      ['device-approve', 'confirm', 'yes'],
    ]);
  });

  test('staying signed in sends nothing, signing out sends logout=yes', async () => {
    const buttons = submitters(controlsOf(await page('logout'), 'logout'));
    expect(buttons.map(({ attributes: { id, name, value } }) => [id, name, value])).toEqual([
      ['logout-stay', undefined, undefined],
      ['logout-confirm', 'logout', 'yes'],
    ]);
  });

  test('the profile form sends every claim by its own name', async () => {
    const names = controlsOf(await page('profile'), 'profile').flatMap(({ attributes }) => attributes.name ?? []);
    expect(names.sort()).toEqual([...claims].sort());
  });

  test('what only a script can serve is hidden without one', async () => {
    const tags = await page('sign-in', { passkeys: true });
    const enhanced = tags.filter(({ attributes }) => attributes['data-enhance']);
    expect(enhanced.map(({ attributes }) => [attributes['data-enhance'], attributes.type, attributes.hidden])).toEqual([
      ['reveal', 'button', ''],
      ['passkey', 'button', ''],
    ]);
  });
});

describe('the words and ways', () => {
  test('the start page leads to sign-in, registration, discovery and the playground', async () => {
    const leads = async (change: Partial<Pages['index']>) => valuesOf(await page('index', change), 'href');
    const all = { signedIn: undefined, registration: true, playground: true, discoveryUrl: 'https://id.example/d' };
    const [own, discovery] = [['/auth/login', '/auth/register', '/playground'], 'https://id.example/d'];
    expect(await leads(all)).toEqual(expect.arrayContaining([...own, discovery]));
    const fewer = await leads({ ...all, registration: false, playground: false });
    expect(fewer.filter((link) => own.includes(link))).toEqual(['/auth/login']);
  });

  test('the cursor goes to the field to mend', async () => {
    const focus = async (change: Partial<Pages['sign-in']>) =>
      (await page('sign-in', change))
        .filter(({ attributes }) => attributes.autofocus === '')
        .map(({ attributes }) => attributes.id);
    const problem = { title: 'No.' };
    expect(await focus({})).toEqual([]);
    expect(await focus({ problem })).toEqual(['password']);
    expect(await focus({ problem, email: { value: 'ada', wrong: 'No.' } })).toEqual(['email']);
  });

  test('what is optional is left out', async () => {
    const tags = await page('sign-in', {
      client: undefined,
      registerUrl: undefined,
      forgotUrl: undefined,
      cancel: undefined,
      passkeys: undefined,
    });
    expect(tags.filter(({ name }) => name === 'a')).toEqual([]);
    expect(byClass(tags, 'tile')).toHaveLength(1);
    expect(byClass(tags, 'thread')).toEqual([]);
    expect(byId(tags, 'login-passkey')).toBeUndefined();
  });

  test('every reason for an interruption has words of its own', async () => {
    const reasons = ['expired', 'finished', 'elsewhere', 'other-account'] as const;
    const words = await Promise.all(
      reasons.map(async (reason) => (await page('interrupted', { reason })).find(({ name }) => name === 'p')?.text),
    );
    expect(new Set(words).size).toBe(reasons.length);
    for (const text of words) expect(text).toMatch(/^Your account is fine\b/);
  });

  test('an error always has a way on, a reference and a time', async () => {
    const tags = await page('error', { action: undefined, second: undefined });
    expect(byClass(tags, 'btn').map(({ attributes }) => attributes.href)).toEqual(['/']);
    expect(tags.find(({ name }) => name === 'code')?.text).toBe('req_1');
    expect(tags.find(({ name }) => name === 'time')).toMatchObject({
      attributes: { datetime: '2026-03-12T09:41:07.000Z' },
      text: expect.stringContaining('12 March 2026, 09:41:07 UTC'),
    });
  });

  test('a link that a client registered runs no script (SECURITY 3)', async () => {
    const url = ' java\nscript:alert(1)';
    const tags = await page('logged-out', { continueUrl: url });
    expect(byClass(tags, 'btn', 'main')[0]?.attributes.href).toBe('/');
    const back = await page('error', { action: { url: 'com.fernwood.app:/return', label: 'Go back' } });
    expect(byClass(back, 'btn', 'main')[0]?.attributes.href).toBe('com.fernwood.app:/return');
  });

  test.each([
    ['Ada Moreno', 'AM'],
    ['ada', 'A'],
    ['Ada de la Cruz', 'AC'],
    ['<7 Seas>', '7S'],
    ['École Été', 'ÉÉ'],
    ['مكتبة الغابة', 'م'],
    ['!?', '?'],
  ])('%s without a logo is %s', async (name, letters) => {
    const tags = await page('logout', { client: { name, unverified: false } });
    expect(byClass(tags, 'tile')[0]?.text.trim()).toBe(letters);
  });

  test('a client id with any characters has a form that disconnects it', async () => {
    const tags = await page('account-apps', {
      apps: [{ clientId: 'a/b?c', name: 'A', since: new Date(0), scopes: [] }],
    });
    expect(valuesOf(tags, 'action')).toContain('/account/apps/a%2Fb%3Fc/disconnection');
  });

  test('brand name, logo and hue come from the configuration', async () => {
    const own = createViews({ brand: { name: 'B&B', logoUrl: '/own.svg', hue: 20 }, host: 'id.example', cache: false });
    const tags = tagsOf(await own.render('logged-out', {}));
    expect(tags.find(({ name }) => name === 'title')?.text).toBe('You’re signed out – B&B');
    expect(tags.find(({ name }) => name === 'img')?.attributes).toMatchObject({
      class: 'tile',
      src: '/own.svg',
      alt: '',
    });
    expect(tags.find(({ attributes }) => attributes.rel === 'icon')?.attributes.href).toBe('/own.svg');
    expect(tags.some(({ text }) => text.includes('id.example'))).toBe(true);
    expect(own.brandCss).toBe(':root{--hue:20}\n');
  });
});
