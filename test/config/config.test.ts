import { execFile } from 'node:child_process';
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { describeVariable, type Name, names } from '../../src/config/environment.ts';
import { type Config, ConfigError, configWarnings, loadEnvironment, readConfig } from '../../src/config.ts';
import { tlsCertificate, tlsKey } from '../support/certificate.ts';

const folder = mkdtempSync(join(tmpdir(), 'latchkey-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

const cookieSecret = 'c'.repeat(32);
const encryptionKey = randomBytes(32).toString('base64');
const shared = { OIDC_COOKIE_SECRET: cookieSecret, OIDC_ENCRYPTION_KEY: encryptionKey };
const database = 'postgres://latchkey:hunter2@db.internal:5432/latchkey';
const production = { NODE_ENV: 'production', OIDC_ISSUER: 'https://id.example.com' };

const rsa = pkcs8(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey);
const p256 = pkcs8(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
const keyFile = file('key.pem', tlsKey());
const certFile = file('cert.pem', tlsCertificate());

describe('a value of the right kind is taken', () => {
  const rows: [Name, string, (config: Config) => unknown, unknown][] = [
    ['NODE_ENV', 'test', (c) => c.production, false],
    ['OIDC_ISSUER', 'http://localhost:4000', (c) => c.origin, 'http://localhost:4000'],
    ['OIDC_ISSUER', 'https://ID.example.com:443/', (c) => c.origin, 'https://id.example.com'],
    ['OIDC_ISSUER', 'https://id.example.com', (c) => c.issuer, 'https://id.example.com/oidc'],
    ['OIDC_ISSUER', 'https://id.example.com', (c) => c.secure, true],
    ['OIDC_ISSUER', 'http://[::1]:3000', (c) => c.secure, false],
    ['OIDC_ISSUER', 'https://bücher.example', (c) => c.origin, 'https://xn--bcher-kva.example'],
    ['PORT', '0', (c) => c.port, 0],
    ['PORT', '65535', (c) => c.port, 65535],
    ['PORT', '80', (c) => c.origin, 'http://localhost'],
    ['HOST', '::', (c) => c.host, '::'],
    ['HOST', 'id.internal', (c) => c.host, 'id.internal'],
    ['DATABASE_URL', database, (c) => c.databaseUrl, database],
    [
      'DATABASE_URL',
      'postgresql:///latchkey?host=/run/pg',
      (c) => c.databaseUrl,
      'postgresql:///latchkey?host=/run/pg',
    ],
    ['DATABASE_POOL_SIZE', '25', (c) => c.databasePoolSize, 25],
    [
      'OIDC_COOKIE_SECRET',
      `${cookieSecret}, ${'d'.repeat(40)}`,
      (c) => c.cookieSecrets,
      [cookieSecret, 'd'.repeat(40)],
    ],
    ['OIDC_ENCRYPTION_KEY', encryptionKey, (c) => c.encryptionKeys, [Buffer.from(encryptionKey, 'base64')]],
    ['OIDC_ENCRYPTION_KEY', `${encryptionKey},${encryptionKey}`, (c) => c.encryptionKeys.length, 2],
    ['JWKS_PRIVATE_KEY', rsa, (c) => c.jwksPrivateKey, rsa],
    ['JWKS_PRIVATE_KEY', p256, (c) => c.jwksPrivateKey, p256],
    ['JWKS_PRIVATE_KEY', p256.replaceAll('\n', '\\n'), (c) => c.jwksPrivateKey, p256],
    ['JWKS_PRIVATE_KEY', file('signing.pem', rsa), (c) => c.jwksPrivateKey, rsa],
    [
      'ALLOWED_ORIGINS',
      'https://app.example.com, http://localhost:5173/',
      (c) => c.allowedOrigins,
      ['https://app.example.com', 'http://localhost:5173'],
    ],
    ['BCRYPT_ROUNDS', '10', (c) => c.bcryptRounds, 10],
    ['BCRYPT_ROUNDS', '15', (c) => c.bcryptRounds, 15],
    ['PASSWORD_CHECK', 'common', (c) => c.passwordCheck, 'common'],
    ['PASSWORD_CHECK', 'breached', (c) => c.passwordCheck, 'breached'],
    ['PASSWORD_RANGE_URL', 'http://leaks.internal/?range=', (c) => c.passwordRangeUrl, 'http://leaks.internal/?range='],
    ['CLIENT_REGISTRATION', 'closed', (c) => c.clientRegistration, 'closed'],
    ['CLIENT_ID_METADATA_DOCUMENTS', 'on', (c) => c.clientIdMetadataDocuments, true],
    ['ACCOUNT_REGISTRATION', 'verified', (c) => c.accountRegistration, 'verified'],
    ['ACCOUNT_REGISTRATION', 'closed', (c) => c.accountRegistration, 'closed'],
    ['PKCE', 'all', (c) => c.pkce, 'all'],
    ['REFRESH_TOKEN_LEEWAY', '0', (c) => c.refreshTokenLeewaySeconds, 0],
    ['REFRESH_TOKEN_LEEWAY', '3600', (c) => c.refreshTokenLeewaySeconds, 3600],
    ['SMTP_URL', 'smtps://me:pw@mail.example.com:465', (c) => c.smtpUrl, 'smtps://me:pw@mail.example.com:465'],
    ['MAIL_FROM', 'Fernwood Bank <id@example.com>', (c) => c.mailFrom, 'Fernwood Bank <id@example.com>'],
    ['TRUST_PROXY', 'false', (c) => c.trustProxy, false],
    ['TRUST_PROXY', '1', (c) => c.trustProxy, 1],
    ['TRUST_PROXY', 'loopback,10.0.0.0/8, fd00::1', (c) => c.trustProxy, 'loopback, 10.0.0.0/8, fd00::1'],
    ['OUTBOUND_ALLOW', 'RP.internal,10.1.0.0/16,::1', (c) => c.outboundAllow, ['rp.internal', '10.1.0.0/16', '::1']],
    ['PLAYGROUND', 'off', (c) => c.playground, false],
    ['BRAND_NAME', 'Größe & Söhne', (c) => c.brand.name, 'Größe & Söhne'],
    ['BRAND_LOGO_URL', '/assets/logo.svg?v=2', (c) => c.brand.logoUrl, '/assets/logo.svg?v=2'],
    ['BRAND_LOGO_URL', 'https://cdn.example.com/logo.svg', (c) => c.brand.logoUrl, 'https://cdn.example.com/logo.svg'],
    ['BRAND_HUE', '360', (c) => c.brand.hue, 360],
    ['WEB_CONCURRENCY', '1', (c) => c.workers, 1],
    ['WEB_CONCURRENCY', '3', (c) => c.workers, 3],
    ['WEB_CONCURRENCY', 'auto', (c) => c.workers, availableParallelism()],
    ['STOP_DELAY_SECONDS', '300', (c) => c.stopDelaySeconds, 300],
    ['METRICS_TOKEN', 'abc-._~+/123==', (c) => c.metricsToken, 'abc-._~+/123=='],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'http://otel:4318/', (c) => c.tracing?.endpoint, 'http://otel:4318'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'authorization=Bearer%20abc, x=1', (c) => c.tracing, undefined],
    ['AUDIT_RETENTION_DAYS', '30', (c) => c.auditRetentionDays, 30],
    ['LOG_LEVEL', 'silent', (c) => c.logLevel, 'silent'],
  ];

  for (const [name, text, pick, expected] of rows) {
    test(title(name, text), () => expect(pick(read({ [name]: text }))).toEqual(expected));
  }
});

describe('a value of another kind is one problem, by name', () => {
  const rows: [Name, string[]][] = [
    ['NODE_ENV', ['prod', 'Production']],
    [
      'OIDC_ISSUER',
      [
        'id.example.com',
        'ftp://id.example.com',
        'https://id.example.com/oidc',
        'https://id.example.com?',
        'https://id.example.com/#',
        'https://me:pw@id.example.com',
        'https://id.example.com\\oidc',
        'https://*.example.com',
        'https://id..example.com',
        'https://',
        'https://id.example.com:70000',
      ],
    ],
    ['PORT', ['65536', '-1', '3e3', '3000.0', '0x10', 'http']],
    ['HOST', ['localhost:3000', '[::1]', '127.0.0.300', 'a b', 'http://localhost']],
    ['DATABASE_URL', ['mysql://localhost/x', 'localhost', 'postgres://', 'http://localhost']],
    ['DATABASE_POOL_SIZE', ['1', '1001', 'many']],
    ['OIDC_COOKIE_SECRET', ['short', `${cookieSecret},short`, `${cookieSecret},`]],
    ['OIDC_ENCRYPTION_KEY', ['short', randomBytes(16).toString('base64'), 'f'.repeat(64), `${encryptionKey},`]],
    [
      'JWKS_PRIVATE_KEY',
      [
        join(folder, 'missing.pem'),
        folder,
        certFile,
        '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----',
        pkcs8(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey),
        pkcs8(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey),
        pkcs8(generateKeyPairSync('ed25519').privateKey),
        generateKeyPairSync('ec', { namedCurve: 'P-256' })
          .privateKey.export({ type: 'sec1', format: 'pem' })
          .toString(),
        generateKeyPairSync('ec', { namedCurve: 'P-256' })
          .privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
          .toString(),
      ],
    ],
    [
      'ALLOWED_ORIGINS',
      ['*', 'https://*.example.com', 'https://a.example,*', 'https://a.example/app', 'null', 'a.example'],
    ],
    ['BCRYPT_ROUNDS', ['9', '16', 'twelve', '12.5']],
    ['PASSWORD_CHECK', ['none', 'Length']],
    [
      'PASSWORD_RANGE_URL',
      ['leaks.internal/', 'https://leaks.internal/range', 'ftp://leaks.internal/', 'https://me@a.b/'],
    ],
    ['CLIENT_REGISTRATION', ['on', 'OPEN']],
    ['CLIENT_ID_METADATA_DOCUMENTS', ['true', '1', 'ON']],
    ['ACCOUNT_REGISTRATION', ['token', 'off']],
    ['PKCE', ['none', 'off', 'true']],
    ['REFRESH_TOKEN_LEEWAY', ['3601', '-1', '10s']],
    [
      'SMTP_URL',
      [
        'mail.example.com:25',
        'http://mail.example.com',
        'smtp://',
        'smtp://mail.example.com/?ignoreTLS=true',
        'smtp://mail.example.com/x',
      ],
    ],
    ['MAIL_FROM', ['nobody', 'a@b@c', 'a@b,c', 'a@b..c', 'A <a@b.c', 'A <a@b.c>\nBcc: x@y.z']],
    ['TRUST_PROXY', ['true', '11', '-1', '0.0.0.0/0', '::/0', '10.0.0.0/33', '10.0.0', 'proxy.internal', 'loopback,']],
    ['TLS_CERT_FILE', [join(folder, 'missing.pem'), folder, keyFile]],
    ['TLS_KEY_FILE', [join(folder, 'missing.pem'), folder, certFile]],
    ['MTLS_PORT', ['0', '65536', 'tls']],
    ['MTLS_CERT_HEADER', ['two words', 'x:y', 'x'.repeat(101)]],
    ['MTLS_ORIGIN', ['mtls.example.com', 'https://mtls.example.com/oidc', 'ftp://mtls.example.com']],
    ['MTLS_CA_FILE', [join(folder, 'missing.pem'), folder, keyFile]],
    ['OUTBOUND_ALLOW', ['*', '10.0.0.0/33', '10.0.0.300', 'rp.internal:8443', 'https://rp.internal', 'a,,b', '127.1']],
    ['PLAYGROUND', ['true', '1', 'ON']],
    ['BRAND_NAME', ['x'.repeat(61), 'two\nlines']],
    [
      'BRAND_LOGO_URL',
      [
        'http://a.example/x',
        '//a.example/x',
        '/\\a.example/x',
        'javascript:alert(1)',
        'logo.svg',
        'https://me:pw@a.example/x',
      ],
    ],
    ['BRAND_HUE', ['361', '-1', 'green', '12.5']],
    ['WEB_CONCURRENCY', ['0', '-1', 'all', '1.5']],
    ['STOP_DELAY_SECONDS', ['-1', '301', '5s']],
    ['BACKUP_PASSPHRASE', ['eleven char', 'short']],
    ['METRICS_TOKEN', ['two words', 'näh', '=']],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', ['otel:4318', 'grpc://otel:4317', 'http://otel:4318/?a=b', 'http://me:pw@otel']],
    ['OTEL_EXPORTER_OTLP_HEADERS', ['Bearer abc', 'a=%zz', 'a b=c', 'a=b,']],
    ['OTEL_SERVICE_NAME', ['x'.repeat(61), 'two words']],
    ['OTEL_TRACES_SAMPLER', ['always', 'jaeger_remote']],
    ['OTEL_TRACES_SAMPLER_ARG', ['1.5', '-0.1', 'half']],
    ['AUDIT_RETENTION_DAYS', ['0', '-1', '36501', 'forever']],
    ['LOG_LEVEL', ['verbose', 'INFO']],
  ];

  test('every variable but DATA_DIR, which takes any path, has such values', () => {
    expect(rows.map(([name]) => name)).toEqual(names.filter((name) => name !== 'DATA_DIR'));
  });

  for (const [name, text] of rows.flatMap(([name, texts]) => texts.map((text) => [name, text] as const))) {
    test(title(name, text), () => {
      // A TLS file on its own is told that the other is missing as well.
      const problems = problemsOf({ [name]: text }).filter((line) => !line.includes(': expected together with'));
      expect(problems).toEqual([expect.stringMatching(new RegExp(`^${name}: expected `))]);
    });
  }
});

describe('defaults', () => {
  test('in development', () => {
    const config = read({});
    expect(config).toMatchObject({
      production: false,
      origin: 'http://localhost:3000',
      issuer: 'http://localhost:3000/oidc',
      secure: false,
      port: 3000,
      host: '127.0.0.1',
      databaseUrl: undefined,
      jwksPrivateKey: undefined,
      allowedOrigins: [],
      bcryptRounds: 12,
      passwordCheck: 'length',
      clientRegistration: 'open',
      accountRegistration: 'open',
      pkce: 'public',
      refreshTokenLeewaySeconds: 10,
      trustProxy: undefined,
      tls: undefined,
      outboundAllow: [],
      playground: true,
      brand: { name: 'Latchkey', logoUrl: undefined, hue: 178 },
      workers: 1,
      logLevel: 'info',
    });
    expect(Object.isFrozen(config)).toBe(true);
  });

  test('in production', () => {
    expect(read({ ...production })).toMatchObject({
      production: true,
      host: '0.0.0.0',
      passwordCheck: 'common',
      clientRegistration: 'token',
      accountRegistration: 'open',
      playground: false,
    });
  });

  test('an empty variable is unset', () => {
    expect(read(Object.fromEntries(names.map((name) => [name, name === 'DATA_DIR' ? folder : ' '])))).toEqual(
      read({ DATA_DIR: folder }),
    );
  });

  test('DATA_DIR is made absolute', () => {
    expect(readConfig({ ...shared }).dataDir).toBe(join(process.cwd(), 'data'));
  });
});

describe('rules about several variables', () => {
  test('production takes https, or plain http on loopback', () => {
    const issuers = ['http://localhost:3000', 'http://127.8.9.1', 'http://[::1]:3000', 'https://id.example.com'];
    for (const issuer of issuers) expect(read({ ...production, OIDC_ISSUER: issuer }).origin).toBe(issuer);
    for (const issuer of ['http://id.example.com', 'http://10.0.0.1', 'http://localhost.example.com']) {
      expect(problemsOf({ ...production, OIDC_ISSUER: issuer })).toEqual([
        'OIDC_ISSUER: expected https in production (plain http is for loopback only)',
      ]);
      expect(read({ OIDC_ISSUER: issuer }).origin).toBe(issuer);
    }
  });

  test('production with DATABASE_URL needs the shared secrets', () => {
    const problems = problemsOf({ ...production, DATABASE_URL: database });
    expect(problems.map((line) => line.split(':')[0])).toEqual(['OIDC_COOKIE_SECRET', 'OIDC_ENCRYPTION_KEY']);
    expect(problemsOf({ ...production, DATABASE_URL: 'nonsense', OIDC_COOKIE_SECRET: cookieSecret })).toHaveLength(2);
    expect(read({ ...production, DATABASE_URL: database, ...shared }).databaseUrl).toBe(database);
    expect(read({ DATABASE_URL: database }).cookieSecrets).toHaveLength(1);
  });

  test('TLS files come together, match, and make the default origin https', () => {
    const tls = { TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile };
    expect(read(tls)).toMatchObject({ origin: 'https://localhost:3000', secure: true, tls: { certFile, keyFile } });
    expect(problemsOf({ TLS_CERT_FILE: certFile })).toEqual(['TLS_KEY_FILE: expected together with TLS_CERT_FILE']);
    expect(problemsOf({ TLS_KEY_FILE: keyFile })).toEqual(['TLS_CERT_FILE: expected together with TLS_KEY_FILE']);
    expect(problemsOf({ ...tls, TLS_KEY_FILE: file('other.pem', p256) })).toEqual([
      'TLS_KEY_FILE: expected the private key of the certificate in TLS_CERT_FILE',
    ]);
    expect(problemsOf({ ...tls, OIDC_ISSUER: 'http://localhost:3000' })).toEqual([
      'OIDC_ISSUER: expected https, because TLS files are given',
    ]);
  });
});

describe('problems', () => {
  test('all come together, one line each', () => {
    const problems = problemsOf({
      NODE_ENV: 'production',
      OIDC_ISSUER: 'http://id.example.com',
      PORT: 'x',
      DATABASE_URL: database,
      DATABASE_URL_FILE: keyFile,
      OIDC_COOKIE_SECRET: 'short',
      OIDC_ENCRYPTION_KEY_FILE: join(folder, 'missing'),
      BCRYPT_ROUNDS: '9',
      PASSWORD_CHECK: 'strong',
      TLS_CERT_FILE: certFile,
    });
    expect(problems.map((line) => line.split(':')[0]).toSorted()).toEqual([
      'BCRYPT_ROUNDS',
      'DATABASE_URL',
      'OIDC_COOKIE_SECRET',
      'OIDC_ENCRYPTION_KEY_FILE',
      'OIDC_ISSUER',
      'PASSWORD_CHECK',
      'PORT',
      'TLS_KEY_FILE',
    ]);
    expect(problems.every((line) => line.includes(': expected ') && !line.includes('\n'))).toBe(true);
  });

  test('a bad value never appears in the message, of whichever variable', () => {
    const text = fc
      .string({ minLength: 8, maxLength: 60 })
      .map((noise) => `§${noise.trim().replaceAll('\0', '')},§`)
      .chain((noise) => fc.constantFrom(noise, `postgres:/${noise}`, `-----BEGIN PRIVATE KEY-----${noise}`));
    const takesNearlyAll: Name[] = ['DATA_DIR', 'BRAND_NAME', 'BACKUP_PASSPHRASE'];
    const badEverywhere = names.filter((name) => !takesNearlyAll.includes(name));
    fc.assert(
      fc.property(fc.constantFrom(...badEverywhere), text, fc.boolean(), (name, secret, asFile) => {
        const { secret: mayBeFile } = describeVariable(name);
        const problems = problemsOf(
          asFile && mayBeFile ? { [`${name}_FILE`]: file('secret', secret) } : { [name]: secret },
        );
        expect(problems).not.toEqual([]);
        expect(problems.join('\n')).not.toContain('§');
      }),
    );
  });
});

describe('a secret in a file', () => {
  const samples: Partial<Record<Name, string>> = {
    DATABASE_URL: database,
    OIDC_COOKIE_SECRET: cookieSecret,
    OIDC_ENCRYPTION_KEY: encryptionKey,
    JWKS_PRIVATE_KEY: p256,
    SMTP_URL: 'smtp://me:pw@mail.example.com',
    BACKUP_PASSPHRASE: 'correct horse battery',
    METRICS_TOKEN: 'abc',
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20abc',
  };

  test('every secret has such a variant and nothing else has', () => {
    expect(names.filter((name) => describeVariable(name).secret)).toEqual(Object.keys(samples));
    expect(read({ PORT_FILE: file('port', '4000') }).port).toBe(3000);
  });

  test.each(Object.entries(samples))('%s_FILE', (name, text) => {
    const secretFile = file('secret', `${text}\n`);
    expect(read({ [`${name}_FILE`]: secretFile })).toEqual(read({ [name]: text }));
    expect(problemsOf({ [name]: text, [`${name}_FILE`]: secretFile })).toEqual([
      `${name}: expected either ${name} or ${name}_FILE, not both`,
    ]);
    for (const unusable of [join(folder, 'missing'), folder, file('empty', ' \n')]) {
      expect(problemsOf({ [`${name}_FILE`]: unusable })).toEqual([
        `${name}_FILE: expected the path of a readable file with the value in it`,
      ]);
    }
  });
});

describe('generated secrets', () => {
  test('are made once, for their owner only, and stay', () => {
    const dataDir = join(folder, 'fresh/data');
    const first = readConfig({ DATA_DIR: dataDir });
    expect(readConfig({ DATA_DIR: dataDir })).toEqual(first);
    expect(first.cookieSecrets[0]?.length).toBeGreaterThanOrEqual(32);
    expect(first.encryptionKeys[0]).toHaveLength(32);
    expect(readdirSync(dataDir).toSorted()).toEqual(['cookie-secret', 'encryption-key']);
    expect(statSync(dataDir).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(dataDir)) expect(statSync(join(dataDir, name)).mode & 0o777).toBe(0o600);
  });

  test('differ from one folder to the next and from each other', () => {
    const all = ['a', 'b'].map((name) => read({ DATA_DIR: join(folder, name) }));
    const texts = all.flatMap((c) => [...c.cookieSecrets, ...c.encryptionKeys.map((key) => key.toString('base64'))]);
    expect(new Set(texts).size).toBe(4);
  });

  test('are not made when given, and not when anything is wrong', () => {
    const dataDir = join(folder, 'untouched');
    readConfig({ DATA_DIR: dataDir, ...shared });
    problemsOf({ DATA_DIR: dataDir, PORT: 'x' });
    expect(readdirSync(folder)).not.toContain('untouched');
  });

  test('are the same for processes that start together', async () => {
    const module = join(import.meta.dirname, '../../src/config.ts');
    const script = `import { readConfig } from ${JSON.stringify(module)};
      const { cookieSecrets, encryptionKeys } = readConfig();
      console.log(cookieSecrets[0], encryptionKeys[0].toString('base64'));`;
    const env = { PATH: process.env.PATH, DATA_DIR: join(folder, 'together') };
    const run = () => promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env });
    const outputs = await Promise.all([run(), run(), run(), run()]);
    expect(new Set(outputs.map(({ stdout }) => stdout)).size).toBe(1);
    expect(readdirSync(env.DATA_DIR).toSorted()).toEqual(['cookie-secret', 'encryption-key']);
  });

  test('a damaged one is a problem, never replaced', () => {
    const dataDir = join(folder, 'damaged');
    readConfig({ DATA_DIR: dataDir });
    writeFileSync(join(dataDir, 'encryption-key'), 'half');
    expect(problemsOf({ DATA_DIR: dataDir })).toEqual(['DATA_DIR: expected an undamaged encryption-key in it']);
    expect(readFileSync(join(dataDir, 'encryption-key'), 'utf8')).toBe('half');
  });

  test('a DATA_DIR that cannot be one is a problem', () => {
    expect(problemsOf({ DATA_DIR: keyFile })).toEqual([
      expect.stringMatching(/^DATA_DIR: expected a folder in which cookie-secret can be read or made \(E\w+\)$/),
    ]);
  });
});

describe('.env', () => {
  test('adds to the environment, which wins', () => {
    process.env.LATCHKEY_TEST_GIVEN = '';
    loadEnvironment(file('dotenv', 'LATCHKEY_TEST_GIVEN=file\nLATCHKEY_TEST_NEW="file"\n'));
    expect([process.env.LATCHKEY_TEST_GIVEN, process.env.LATCHKEY_TEST_NEW]).toEqual(['', 'file']);
  });

  test('may be absent, but not unreadable', () => {
    expect(() => loadEnvironment(join(folder, 'absent'))).not.toThrow();
    expect(() => loadEnvironment(folder)).toThrow(ConfigError);
  });
});

test('names that look like ours, and settings without effect yet, give a warning', () => {
  const env = {
    OIDC_ISUER: 'x',
    BRAND_COLOUR: 'x',
    BCRYPT_ROUND: 'x',
    PLAYGROUND_: '',
    PATH: '/bin',
    HOME: '/',
    PORTS: '1',
  };
  expect(configWarnings({ ...env, DATABASE_URL_FILE: '/x' })).toEqual([
    'OIDC_ISUER is not a setting: is OIDC_ISSUER meant?',
    'BRAND_COLOUR is not a setting',
    'BCRYPT_ROUND is not a setting: is BCRYPT_ROUNDS meant?',
  ]);
});

test('traces are configured by the standard variables', () => {
  const endpoint = 'https://otel.example.com/otlp';
  const standard = {
    OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20abc, x-scope=1',
    OTEL_SERVICE_NAME: 'id',
    OTEL_TRACES_SAMPLER: 'traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0.05',
  };
  const headers = { authorization: 'Bearer abc', 'x-scope': '1' };
  expect(read(standard).tracing).toEqual({
    endpoint,
    headers,
    serviceName: 'id',
    sampler: 'traceidratio',
    ratio: 0.05,
  });
  const parent = { headers: {}, serviceName: 'latchkey', sampler: 'parentbased_always_on', ratio: 1 };
  expect(read({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }).tracing).toEqual({ endpoint, ...parent });
});

test('in production a mail server is missed: by a warning, and where accounts need it by a refusal', () => {
  const without = { NODE_ENV: 'production' };
  expect(configWarnings(without)).toEqual([expect.stringMatching(/^SMTP_URL is not set: no mail is sent/)]);
  expect(configWarnings({ ...without, SMTP_URL_FILE: '/x' })).toEqual([]);
  expect(configWarnings({})).toEqual([]);
  const verified = { ACCOUNT_REGISTRATION: 'verified' };
  expect(problemsOf(verified)).toEqual([]);
  const start = { ...without, OIDC_ISSUER: 'https://id.example.com', ...verified };
  expect(problemsOf(start)).toEqual([expect.stringMatching(/^SMTP_URL: expected a mail server/)]);
  expect(problemsOf({ ...start, SMTP_URL: 'smtp://mail.example.com' })).toEqual([]);
});

function read(env: Record<string, string>): Config {
  return readConfig({ DATA_DIR: folder, ...env });
}

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    read(env);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    expect(error.message).toBe(error.problems.join('\n'));
    return error.problems;
  }
}

function title(name: string, text: string): string {
  return `${name}=${text.length > 60 ? `${text.slice(0, 20)}… (${text.length} characters)` : JSON.stringify(text)}`;
}

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function pkcs8(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}
