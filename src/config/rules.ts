/** The rules about the environment as a whole: what several variables say together. */
import { z } from 'zod';
import { type Name, shape } from './environment.ts';
import { keyMatchesCertificate } from './keys.ts';
import { isLoopbackOrigin } from './values.ts';

type Values = z.output<z.ZodObject<typeof shape>>;

/** From texts (defaults filled in, unset ones absent) to values. Each issue's path is a variable, its message what was expected. */
export const environment = z
  .object(shape)
  .refine((v) => v.NODE_ENV !== 'production' || !plain(v.OIDC_ISSUER) || isLoopbackOrigin(v.OIDC_ISSUER), {
    path: ['OIDC_ISSUER'],
    error: 'https in production (plain http is for loopback only)',
    when: areValid('NODE_ENV', 'OIDC_ISSUER'),
  })
  .refine((v) => !plain(v.OIDC_ISSUER) || !v.TLS_CERT_FILE || !v.TLS_KEY_FILE, {
    path: ['OIDC_ISSUER'],
    error: 'https, because TLS files are given',
    when: areValid('OIDC_ISSUER', 'TLS_CERT_FILE', 'TLS_KEY_FILE'),
  })
  .refine((v) => !v.TLS_CERT_FILE || v.TLS_KEY_FILE, {
    path: ['TLS_KEY_FILE'],
    error: 'together with TLS_CERT_FILE',
    when: always,
  })
  .refine((v) => !v.TLS_KEY_FILE || v.TLS_CERT_FILE, {
    path: ['TLS_CERT_FILE'],
    error: 'together with TLS_KEY_FILE',
    when: always,
  })
  .refine((v) => !v.TLS_CERT_FILE || !v.TLS_KEY_FILE || keyMatchesCertificate(v.TLS_CERT_FILE, v.TLS_KEY_FILE), {
    path: ['TLS_KEY_FILE'],
    error: 'the private key of the certificate in TLS_CERT_FILE',
    when: areValid('TLS_CERT_FILE', 'TLS_KEY_FILE'),
  })
  .refine((v) => v.NODE_ENV !== 'production' || v.ACCOUNT_REGISTRATION !== 'verified' || v.SMTP_URL, {
    path: ['SMTP_URL'],
    error: 'a mail server, because ACCOUNT_REGISTRATION=verified sends links',
    when: always,
  })
  .superRefine(
    (v, context) => {
      for (const [path, error] of mtlsProblems(v)) context.addIssue({ code: 'custom', path: [path], message: error });
    },
    { when: always },
  )
  .refine((v) => !mustShare(v) || v.OIDC_COOKIE_SECRET, {
    path: ['OIDC_COOKIE_SECRET'],
    error: 'at least 32 characters, given because all instances on one DATABASE_URL must share it in production',
    when: always,
  })
  .refine((v) => !mustShare(v) || v.OIDC_ENCRYPTION_KEY, {
    path: ['OIDC_ENCRYPTION_KEY'],
    error: '32 bytes in base64, given because all instances on one DATABASE_URL must share it in production',
    when: always,
  });

function plain(origin: string | undefined): origin is string {
  return origin?.startsWith('http:') ?? false;
}

/** A certificate must come from a handshake: this server's own, or one that a proxy known by address vouches for. */
function mtlsProblems(v: Values): [Name, string][] {
  const source = v.MTLS_PORT !== undefined || v.MTLS_CERT_HEADER !== undefined;
  const byAddress = typeof v.TRUST_PROXY === 'string';
  const rules: [boolean, Name, string][] = [
    [
      v.MTLS_PORT === undefined || v.TLS_CERT_FILE !== undefined,
      'MTLS_PORT',
      'together with TLS_CERT_FILE and TLS_KEY_FILE',
    ],
    [v.MTLS_PORT === undefined || v.MTLS_PORT !== v.PORT, 'MTLS_PORT', 'another port than PORT'],
    [
      v.MTLS_CERT_HEADER === undefined || byAddress,
      'MTLS_CERT_HEADER',
      'together with TRUST_PROXY, naming the proxies by address',
    ],
    [v.MTLS_CA_FILE === undefined || source, 'MTLS_CA_FILE', 'together with MTLS_PORT or MTLS_CERT_HEADER'],
    [v.MTLS_ORIGIN === undefined || source, 'MTLS_ORIGIN', 'together with MTLS_PORT or MTLS_CERT_HEADER'],
    [typeof v.MTLS_ORIGIN !== 'string' || !plain(v.MTLS_ORIGIN), 'MTLS_ORIGIN', 'an https origin'],
  ];
  return rules.flatMap(([kept, name, expected]) => (kept ? [] : [[name, expected] as [Name, string]]));
}

function mustShare(v: Values): boolean {
  return v.NODE_ENV === 'production' && v.DATABASE_URL !== undefined;
}

/** Without it Zod skips a rule as soon as any value is wrong, and the problems would come out one after the other. */
function always(): boolean {
  return true;
}

/** For rules that look into values: when the ones they look into are well-formed, whatever the others are. */
function areValid(...involved: Name[]) {
  return ({ issues }: { issues: readonly { path?: PropertyKey[] | undefined }[] }) =>
    !issues.some((issue) => involved.some((name) => issue.path?.[0] === name));
}
