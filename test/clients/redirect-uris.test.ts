import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { redirectUriProblem, webUriProblem } from '../../src/clients/redirect-uris.ts';

const web = { production: true, native: false };
const native = { production: true, native: true };

describe('a web client may register', () => {
  test.each([
    'https://client.example/cb',
    'https://client.example',
    'https://client.example:8443/cb?tenant=1&x=%2F',
    'https://Client.Example/cb',
    'https://client.example:443/cb',
    'https://xn--bcher-kva.example/cb',
    'https://93.184.215.14/cb',
    'http://localhost:8080/cb',
    'http://127.0.0.1/cb',
    'http://[::1]:9/cb',
    'HTTPS://client.example/cb',
    'https://client.example/a@b',
    'https://client.example/cb?mail=a@b',
  ])('%s', (uri) => {
    expect(redirectUriProblem(uri, web)).toBeUndefined();
  });
});

describe('nobody may register', () => {
  test.each([
    ['https://client.example/cb#top', 'fragment'],
    ['https://client.example/cb#', 'fragment'],
    ['https://user@client.example/cb', 'user name'],
    ['https://user:pw@client.example/cb', 'user name'],
    ['https://@client.example/cb', 'user name'],
    ['http://127.0.0.1:80@evil.example/cb', 'user name'],
    ['com.example.app://user@cb', 'user name'],
    ['javascript:alert(1)', 'scheme'],
    ['JavaScript:alert(1)', 'scheme'],
    ['java\tscript:alert(1)', 'plain ASCII'],
    [' javascript:alert(1)', 'plain ASCII'],
    ['\u0001javascript:alert(1)', 'plain ASCII'],
    ['data:text/html,hello', 'scheme'],
    ['vbscript:x', 'scheme'],
    ['file:///etc/passwd', 'scheme'],
    ['blob:https://client.example/1', 'scheme'],
    ['about:blank', 'scheme'],
    ['http://client.example/cb', 'https'],
    ['http://localhost.evil.example/cb', 'https'],
    ['http://10.0.0.1/cb', 'https'],
    ['https://*.client.example/cb', 'one host'],
    ['https://bücher.example/cb', 'plain ASCII'],
    ['https://client。example/cb', 'plain ASCII'],
    ['https://%65vil.example/cb', 'name its host as evil.example'],
    ['https://client.example%2fcb', 'absolute'],
    ['http://127.1/cb', 'name its host as 127.0.0.1'],
    ['http://2130706433/cb', 'name its host as 127.0.0.1'],
    ['https:\\\\client.example\\cb', 'plain ASCII'],
    ['https://client.example\\@evil.example/', 'plain ASCII'],
    ['https:client.example/cb', 'absolute'],
    ['https:/client.example/cb', 'absolute'],
    ['https:///client.example/cb', 'absolute'],
    ['https://client.example/a b', 'plain ASCII'],
    ['//client.example/cb', 'absolute'],
    ['/cb', 'absolute'],
    ['client.example', 'absolute'],
    ['https://', 'absolute'],
    ['', 'absolute'],
    [`https://client.example/${'a'.repeat(2000)}`, '2000'],
    [42, 'string'],
    [['https://client.example/'], 'string'],
  ])('%s (%s)', (uri, reason) => {
    expect(redirectUriProblem(uri, web)).toContain(reason);
    expect(redirectUriProblem(uri, native)).toContain(reason);
  });
});

describe('schemes of apps', () => {
  test('are for native clients', () => {
    expect(redirectUriProblem('com.example.app:/cb', native)).toBeUndefined();
    expect(redirectUriProblem('com.example.app://cb', native)).toBeUndefined();
    expect(redirectUriProblem('com.example.app:/cb', web)).toContain('application_type is native');
  });

  test('belong to a domain in production (RFC 8252 §7.1)', () => {
    expect(redirectUriProblem('myapp://cb', native)).toContain('dot');
    expect(redirectUriProblem('myapp://cb', { production: false, native: true })).toBeUndefined();
  });
});

test('in development plain http passes for every host, and nothing else does', () => {
  const development = { production: false, native: false };
  expect(redirectUriProblem('http://rp.lan:3000/cb', development)).toBeUndefined();
  expect(redirectUriProblem('javascript:alert(1)', development)).toContain('scheme');
  expect(redirectUriProblem('http://rp.lan/cb#x', development)).toContain('fragment');
});

test('a link is https, or http where the caller says so', () => {
  expect(webUriProblem('https://client.example/logo.png', () => false)).toBeUndefined();
  expect(webUriProblem('http://client.example/logo.png', () => false)).toContain('https');
  expect(webUriProblem('http://localhost/logo.png', ({ hostname }) => hostname === 'localhost')).toBeUndefined();
  for (const uri of ['javascript:alert(1)', 'com.example:/x', 'https://a@b.example/', 'https://b.example/#x', 1]) {
    expect(webUriProblem(uri, () => true)).toBeTypeOf('string');
  }
});

describe('whatever is asked for', () => {
  const piece = (...pieces: string[]) => fc.constantFrom(...pieces);
  const crafted = fc
    .tuple(
      piece(
        'https',
        'http',
        'javascript',
        'JAVASCRIPT',
        'data',
        'file',
        'com.example.app',
        'myapp',
        'java\nscript',
        '',
      ),
      piece(':', '://', ':/', ':///', ':\\\\', '%3A//', ''),
      piece('', '', 'user@', 'a:b@', '@', '127.0.0.1:80@', '%40'),
      fc.oneof(
        fc.domain(),
        fc.ipV4(),
        piece(
          'localhost',
          '127.0.0.1',
          '[::1]',
          '[::ffff:7f00:1]',
          '2130706433',
          '*.example',
          'a%2eb',
          'ｅ.example',
          '',
        ),
      ),
      piece('', ':80', ':443', ':8080', ':99999', ':'),
      fc.oneof(fc.webPath(), piece('', '/', '\\', '/..//', '/%2e%2e/', '/a@b', '\t')),
      piece('', '?q', '#', '#f', '?#', '\0', '\u202e'),
    )
    .map((parts) => parts.join(''));
  const anything = fc.oneof(crafted, crafted, fc.string({ unit: 'binary' }), fc.webUrl({ withFragments: true }));

  test('a redirect goes where the text says, and to no fragment, script or unencrypted host', () => {
    let accepted = 0;
    fc.assert(
      fc.property(anything, fc.boolean(), (uri, isNative) => {
        if (redirectUriProblem(uri, { production: true, native: isNative }) !== undefined) return;
        accepted += 1;
        const url = new URL(uri);
        expect(uri).toMatch(/^[\x21-\x7e]+$/);
        expect(uri).not.toContain('#');
        expect(url.username + url.password).toBe('');
        if (url.protocol !== 'https:' && url.protocol !== 'http:') {
          expect(isNative).toBe(true);
          expect(url.protocol).toContain('.');
          return;
        }
        const [, scheme, host] = /^(https?):\/\/([^/?:[]+|\[[^\]]+\])/i.exec(uri) ?? [];
        expect(url.protocol).toBe(`${scheme?.toLowerCase()}:`);
        expect(url.hostname).toBe(host?.toLowerCase());
        if (url.protocol === 'http:') expect(['localhost', '127.0.0.1', '[::1]']).toContain(url.hostname);
      }),
      { numRuns: 5_000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  test('an ordinary https address is accepted', () => {
    fc.assert(
      fc.property(fc.webUrl({ validSchemes: ['https'], withQueryParameters: true }), (uri) => {
        fc.pre(uri.length <= 2000 && URL.canParse(uri));
        expect(redirectUriProblem(uri, web)).toBeUndefined();
      }),
    );
  });
});
