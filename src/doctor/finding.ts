/**
 * The doctor: looks at an installation as its operator would, from the machine that it runs on and from outside in, and
 * says of each thing what was found and what to do. It changes nothing, and no secret is in what it says.
 */

export type State = 'ok' | 'warning' | 'problem';

export type Finding = {
  /** What was looked at, in a word or two that stay the same. */
  check: string;
  state: State;
  /** One sentence. */
  found: string;
  /** One sentence: what to do; absent when nothing is. */
  fix?: string;
};

export function ok(check: string, found: string): Finding {
  return { check, state: 'ok', found };
}

export function warning(check: string, found: string, fix: string): Finding {
  return { check, state: 'warning', found, fix };
}

export function problem(check: string, found: string, fix: string): Finding {
  return { check, state: 'problem', found, fix };
}

/** What the doctor has to know of the configuration. */
export type DoctorConfig = Readonly<{
  production: boolean;
  origin: string;
  issuer: string;
  secure: boolean;
  port: number;
  host: string;
  databaseUrl: string | undefined;
  databasePoolSize: number;
  workers: number;
  dataDir: string;
  cookieSecrets: readonly string[];
  encryptionKeys: readonly Buffer[];
  jwksPrivateKey: string | undefined;
  trustProxy: boolean | number | string | undefined;
  tls: object | undefined;
  smtpUrl: string | undefined;
  mailFrom: string | undefined;
}>;
