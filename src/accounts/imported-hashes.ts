/**
 * Password hashes that other systems made. Each verifies until its owner's next sign-in, which replaces it with ours
 * (password.ts). They are kept as they came, apart from Keycloak's JSON, which becomes a PHC string. Parameters are
 * bounded where a hash comes in: nobody's sign-in may take more than some seconds or 256 MiB.
 */
import { createHash } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../db/database.ts';
import { users } from '../db/schema.ts';
import type { Bcrypt } from '../lib/bcrypt-pool.ts';
import { equalInConstantTime } from '../lib/hash.ts';
import type { Derivation } from '../lib/key-derivation.ts';

type Imported =
  /** bcrypt of the text itself, or of its SHA-256 in hex (Django). */
  { kind: 'bcrypt'; hash: string; prehashed: boolean } | { kind: 'derived'; derivation: Derivation; key: string };

/** True when it is the password that another system's `stored` was made of. Throws `BusyError`. */
export async function verifyImportedHash(bcrypt: Bcrypt, password: string, stored: string): Promise<boolean> {
  const imported = parse(stored);
  if (!imported) return false;
  // They hash what was typed; a keyboard may write the same letters in another form now.
  for (const text of new Set([password, password.normalize('NFKC')])) {
    if (await matches(bcrypt, text, imported)) return true;
  }
  return false;
}

/**
 * One of the imported hashes that are left, for `verifyPassword` to spend the same time on accounts that have none
 * (SECURITY 49). Null once all are upgraded, which an index answers.
 */
export async function findDecoyHash(db: Database): Promise<string | null> {
  const [row] = await db
    .select({ hash: users.passwordHash })
    .from(users)
    .where(sql`${users.passwordHash} not like '$bcrypt-sha384%'`)
    .orderBy(users.id)
    .limit(1);
  return row?.hash ?? null;
}

async function matches(bcrypt: Bcrypt, text: string, imported: Imported): Promise<boolean> {
  if (imported.kind === 'bcrypt') return bcrypt.compare(imported.prehashed ? sha256Hex(text) : text, imported.hash);
  return equalInConstantTime(await bcrypt.derive(text, imported.derivation), imported.key);
}

/** The form in which a hash from elsewhere is stored; undefined when it is not understood or costs too much. */
export function importableHash(given: unknown): string | undefined {
  const keycloak = KeycloakCredential.safeParse(given);
  const text = keycloak.success ? phcOfKeycloak(keycloak.data) : given;
  return typeof text === 'string' && text.length <= longest && parse(text) ? text : undefined;
}

const longest = 1000;

/** Tried in turn. A parser that throws has met a number or a text that is none. */
const parsers: readonly ((text: string) => Imported | undefined)[] = [
  bcryptHash,
  argon2Phc,
  pbkdf2Phc,
  scryptPhc,
  djangoPbkdf2,
  djangoScrypt,
];

function parse(text: string): Imported | undefined {
  for (const parser of parsers) {
    const imported = parser(text);
    if (imported) return imported.kind === 'bcrypt' || isBounded(imported) ? imported : undefined;
  }
  return undefined;
}

/** `$2b$10$…` with its older names, which mean the same for every password of a sane length; Django's two with a word before. */
function bcryptHash(text: string): Imported | undefined {
  const [, django, cost, rest] = /^(bcrypt(?:_sha256)?\$)?\$2[aby]\$(\d\d)\$([./A-Za-z0-9]{53})$/.exec(text) ?? [];
  if (!rest || Number(cost) < 4 || Number(cost) > 15) return undefined;
  return { kind: 'bcrypt', hash: `$2b$${cost}$${rest}`, prehashed: django === 'bcrypt_sha256$' };
}

/** PHC; Django writes `argon2` before it. Version 1.0 is not known to OpenSSL. */
function argon2Phc(text: string): Imported | undefined {
  const [, type, m, t, p, salt, key] =
    /^(?:argon2)?\$(argon2(?:id|i|d))\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([\w+/-]+)\$([\w+/-]+)$/.exec(text) ?? [];
  if (!type || !salt || !key) return undefined;
  const how = { kind: 'argon2' as const, type: type as 'argon2id', memoryKib: Number(m), passes: Number(t) };
  return derived({ ...how, lanes: Number(p) }, salt, key);
}

/** `$pbkdf2-sha256$i=600000$salt$key`, and passlib's, which has no `i=` and writes `.` for `+`. */
function pbkdf2Phc(text: string): Imported | undefined {
  const [, digest = '1', iterations, salt, key] =
    /^\$pbkdf2(?:-sha(1|256|512))?\$(?:i=)?(\d+)\$([\w+/.-]+)\$([\w+/.-]+)$/.exec(text) ?? [];
  if (!salt || !key) return undefined;
  const how = { kind: 'pbkdf2' as const, digest: `sha${digest}` as 'sha1', iterations: Number(iterations) };
  return derived(how, salt.replaceAll('.', '+'), key.replaceAll('.', '+'));
}

/** `$scrypt$ln=14,r=8,p=1$salt$key`. */
function scryptPhc(text: string): Imported | undefined {
  const [, ln, r, p, salt, key] = /^\$scrypt\$ln=(\d{1,2}),r=(\d+),p=(\d+)\$([\w+/-]+)\$([\w+/-]+)$/.exec(text) ?? [];
  if (!salt || !key) return undefined;
  return derived({ kind: 'scrypt', cost: 2 ** Number(ln), blockSize: Number(r), lanes: Number(p) }, salt, key);
}

/** `pbkdf2_sha256$870000$salt$key`: the salt is a text. */
function djangoPbkdf2(text: string): Imported | undefined {
  const [, digest, iterations, salt, key] =
    /^pbkdf2_sha(1|256|512)\$(\d+)\$([^$]+)\$([A-Za-z0-9+/=]+)$/.exec(text) ?? [];
  if (!salt || !key) return undefined;
  const how = { kind: 'pbkdf2' as const, digest: `sha${digest}` as 'sha1', iterations: Number(iterations) };
  return derived(how, base64(salt), key);
}

/** `scrypt$16384$salt$8$1$key`: cost, a salt in text, block size, lanes. */
function djangoScrypt(text: string): Imported | undefined {
  const [, cost, salt, r, p, key] = /^scrypt\$(\d+)\$([^$]+)\$(\d+)\$(\d+)\$([A-Za-z0-9+/=]+)$/.exec(text) ?? [];
  if (!salt || !key) return undefined;
  return derived({ kind: 'scrypt', cost: Number(cost), blockSize: Number(r), lanes: Number(p) }, base64(salt), key);
}

type Method<D = Derivation> = D extends Derivation ? Omit<D, 'salt' | 'keyLength'> : never;

function derived(method: Method, salt: string, key: string): Imported {
  const bytes = Buffer.from(key, 'base64');
  const derivation = { ...method, salt: Buffer.from(salt, 'base64').toString('base64'), keyLength: bytes.length };
  return { kind: 'derived', derivation, key: bytes.toString('base64') };
}

/** A short key would be easy to meet, and every parameter that costs has an end. */
function isBounded({ derivation }: Extract<Imported, { kind: 'derived' }>): boolean {
  const within = (value: number, from: number, to: number) =>
    Number.isSafeInteger(value) && value >= from && value <= to;
  const saltLength = Buffer.from(derivation.salt, 'base64').length;
  if (!within(derivation.keyLength, 16, 64)) return false;
  switch (derivation.kind) {
    case 'argon2': {
      const { memoryKib, passes, lanes } = derivation;
      // RFC 9106 §3.1: at least 8 KiB a lane, a salt of at least 8 bytes.
      return (
        within(saltLength, 8, 64) &&
        within(lanes, 1, 16) &&
        within(passes, 1, 64) &&
        within(memoryKib, 8 * lanes, 256 * 1024) &&
        memoryKib * passes <= 2 * 1024 * 1024
      );
    }
    case 'pbkdf2': {
      const blockLength = { sha1: 20, sha256: 32, sha512: 64 }[derivation.digest];
      const blocks = Math.ceil(derivation.keyLength / blockLength);
      return (
        within(saltLength, 1, 128) &&
        within(derivation.iterations, 1, 4_000_000) &&
        derivation.iterations * blocks <= 6_000_000
      );
    }
    case 'scrypt': {
      const { cost, blockSize, lanes } = derivation;
      return (
        within(saltLength, 1, 128) &&
        within(cost, 2, 2 ** 20) &&
        Number.isInteger(Math.log2(cost)) &&
        within(blockSize, 1, 32) &&
        within(lanes, 1, 16) &&
        128 * cost * blockSize <= 256 * 1024 * 1024 &&
        cost * blockSize * lanes <= 2 ** 22
      );
    }
  }
}

/** A JSON text, as in a column of Keycloak's database, or the object itself, as in its export of a realm. */
const jsonObject = <T extends z.ZodType>(schema: T) =>
  z.preprocess((value, context) => {
    if (typeof value !== 'string') return value;
    try {
      return JSON.parse(value);
    } catch {
      context.addIssue({ code: 'custom', message: 'not JSON' });
      return z.NEVER;
    }
  }, schema);

/** Each parameter of Keycloak's is a list of one text. */
const parameter = z.tuple([z.coerce.string()]).transform(([value]) => value);

const KeycloakCredential = z.object({
  credentialData: jsonObject(
    z.object({
      algorithm: z.string(),
      hashIterations: z.int(),
      additionalParameters: z.record(z.string(), parameter).optional(),
    }),
  ),
  secretData: jsonObject(z.object({ value: z.string(), salt: z.string() })),
});

function phcOfKeycloak({ credentialData, secretData }: z.output<typeof KeycloakCredential>): string | undefined {
  const { algorithm, hashIterations: iterations, additionalParameters = {} } = credentialData;
  const [salt, key] = [secretData.salt, secretData.value].map((bytes) => bytes.replace(/=+$/, ''));
  if (algorithm === 'argon2') {
    const { type = 'id', version = '1.3', memory, parallelism } = additionalParameters;
    if (version !== '1.3') return undefined;
    return `$argon2${type}$v=19$m=${memory},t=${iterations},p=${parallelism}$${salt}$${key}`;
  }
  const digest = { pbkdf2: 'sha1', 'pbkdf2-sha256': 'sha256', 'pbkdf2-sha512': 'sha512' }[algorithm];
  return digest && `$pbkdf2-${digest}$i=${iterations}$${salt}$${key}`;
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
