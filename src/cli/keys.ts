import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { createEncryption, type Encryption } from '../keys/encryption.ts';
import { jwksMaxAgeSeconds } from '../keys/key-lifetimes.ts';
import { type KeyAlgorithm, type KeyPair, keyAlgorithms, readPem } from '../keys/key-pairs.ts';
import {
  importKey,
  maySignFrom,
  type RingKey,
  type Rotation,
  revokeKey,
  ringKeys,
  rotateKeys,
  rotatesAt,
  type TooEarly,
} from '../keys/key-ring.ts';
import { countOldSecrets, reEncrypt } from '../keys/re-encryption.ts';
import { readBroughtKey, ringAlgorithms } from '../keys/signing-keys.ts';
import { confirm } from './confirm.ts';
import { withDatabase } from './database.ts';
import { operator } from './operator.ts';
import { epochSeconds, formatDate, formatTable, print, printJson } from './output.ts';

export function addKeys(program: Command): void {
  const keys = program.command('keys').description('the keys that sign tokens; running servers follow within seconds');

  keys
    .command('list')
    .description('list the keys of the ring, and what each is there for')
    .option('--json', 'print {"keys": […], "other_secrets_under_older_key"}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- keys list')
    .action(showKeys);

  keys
    .command('rotate')
    .description('let the key that waits sign from now on; the one before it still verifies')
    .addOption(new Option('--alg <algorithm>', 'of this algorithm only').choices(keyAlgorithms))
    .option('--force', 'even if clients may not have seen the new key yet: they refuse tokens until they ask again')
    .option('--json', 'print an array of {"alg", "signs", "retired", "waits"}')
    .addHelpText(
      'after',
      `
Examples:
  npm run latchkey -- keys rotate
  npm run latchkey -- keys rotate --alg ES256 --json`,
    )
    .action(rotate);

  keys
    .command('revoke')
    .description('the emergency: publish a key no more and destroy its private part; its tokens verify nowhere')
    .argument('<kid>')
    // A kid may begin with a dash.
    .allowUnknownOption()
    .option('--yes', 'do not ask')
    .option('--json', 'print {"revoked", "alg", "was", "signs"}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- keys revoke q5B3qS0vYw2dTz --yes')
    .action(revoke);

  keys
    .command('import')
    .description('let a key from outside wait to sign, in place of the one that waits now')
    .argument('<file>', 'unencrypted PKCS#8 PEM: RSA of 2048 bits or more, EC P-256 or Ed25519')
    .option('--json', 'print {"imported", "alg", "replaced"}')
    .addHelpText(
      'after',
      `
Example:
  openssl genpkey -algorithm ed25519 -out signing.pem
  npm run latchkey -- keys import signing.pem`,
    )
    .action(importPem);

  keys
    .command('re-encrypt')
    .description('encrypt what lasts under the first OIDC_ENCRYPTION_KEY; a start with several does so too')
    .option('--json', 'print {"re_encrypted", "unreadable"}')
    .addHelpText('after', '\nExample:\n  npm run latchkey -- keys re-encrypt')
    .action(encryptAgain);
}

async function showKeys({ json }: { json?: true }): Promise<void> {
  const { keys, brought, encryption, oldSecrets } = await withKeys(async (db, encryption, brought) => ({
    keys: await ringKeys(db),
    oldSecrets: await countOldSecrets(db, encryption),
    encryption,
    brought,
  }));
  if (json) {
    const ring = keys.filter(({ kid }) => kid !== brought?.kid).map((key) => toJson(key, encryption));
    const outside = brought ? [{ kid: brought.kid, alg: brought.alg, state: 'current', from: 'JWKS_PRIVATE_KEY' }] : [];
    return printJson({ keys: [...outside, ...ring], other_secrets_under_older_key: oldSecrets });
  }
  const rows = keys.map((key) => [key.kid, key.alg, key.state, describe(key, brought, encryption)]);
  const outside = brought ? [[brought.kid, brought.alg, 'current', 'comes from JWKS_PRIVATE_KEY']] : [];
  if (rows.length + outside.length === 0) return print('No keys yet. The first start of the server makes them.');
  print(formatTable(['kid', 'alg', 'state', ''], [...outside, ...rows]));
  if (oldSecrets > 0) print(`\n${oldSecrets} other secret(s) are encrypted under an older OIDC_ENCRYPTION_KEY.`);
}

function describe(key: RingKey, brought: KeyPair | undefined, encryption: Encryption): string {
  const sealed = key.privateJwkEncrypted && encryption.sealedBy(key.privateJwkEncrypted);
  const needs = { first: '', older: '; needs an older OIDC_ENCRYPTION_KEY', unknown: '; CANNOT BE OPENED' };
  return purposeOf(key, brought) + (sealed ? needs[sealed] : '');
}

function purposeOf(key: RingKey, brought: KeyPair | undefined): string {
  if (key.kid === brought?.kid) return 'the same as JWKS_PRIVATE_KEY';
  const until = key.publishedUntil ? formatDate(key.publishedUntil) : '';
  switch (key.state) {
    case 'current':
      return key.alg === brought?.alg
        ? 'verifies; JWKS_PRIVATE_KEY signs'
        : `signs until ${formatDate(rotatesAt(key))}`;
    case 'next':
      return maySignFrom(key) > new Date() ? `waits; may sign from ${formatMinute(maySignFrom(key))}` : 'waits';
    case 'retired':
      return `verifies until ${until}`;
    case 'revoked':
      return `revoked on ${until}`;
  }
}

/** Times are epoch seconds, as in every token. */
function toJson(key: RingKey, encryption: Encryption): Record<string, unknown> {
  const { privateJwkEncrypted: sealed, activatedAt, retiredAt, publishedUntil } = key;
  return {
    kid: key.kid,
    alg: key.alg,
    state: key.state,
    from: 'ring',
    created_at: epochSeconds(key.createdAt),
    ...(key.state === 'next' && { may_sign_from: epochSeconds(maySignFrom(key)) }),
    ...(activatedAt && { activated_at: epochSeconds(activatedAt) }),
    ...(key.state === 'current' && { rotates_at: epochSeconds(rotatesAt(key)) }),
    ...(retiredAt && { retired_at: epochSeconds(retiredAt) }),
    ...(publishedUntil && { published_until: epochSeconds(publishedUntil) }),
    ...(sealed && { encrypted_under: encryption.sealedBy(sealed) }),
  };
}

async function rotate({ alg, force, json }: { alg?: KeyAlgorithm; force?: true; json?: true }): Promise<void> {
  const outcome = await withKeys(async (db, encryption, brought) => {
    if (alg && alg === brought?.alg) throw new Error(`${alg} is signed with JWKS_PRIVATE_KEY: change that variable.`);
    return rotateKeys(db, encryption, alg ? [alg] : ringAlgorithms(brought), {
      force: force === true,
      source: operator(),
    });
  });
  if ('tooEarly' in outcome) throw new Error(sayTooEarly(outcome.tooEarly));
  if (json) return printJson(outcome.rotated);
  print(outcome.rotated.map(sayRotated).join('\n'));
}

function sayTooEarly(keys: readonly TooEarly[]): string {
  const times = keys.map((key) => `${key.alg} from ${formatMinute(key.possibleAt)}`).join(', ');
  return `Nothing was rotated: clients may not have seen the waiting key yet. Possible: ${times}. --force does it now, and clients that keep keys refuse tokens for up to ${jwksMaxAgeSeconds / 60} minutes.`;
}

function sayRotated({ alg, signs, retired, waits }: Rotation): string {
  return `${alg}: ${signs} signs now, ${retired} still verifies, ${waits} waits.`;
}

async function revoke(kid: string, { yes, json }: { yes?: true; json?: true }): Promise<void> {
  const revocation = await withKeys(async (db, encryption, brought) => {
    if (kid === brought?.kid) throw new Error('This key comes from JWKS_PRIVATE_KEY: take that variable away first.');
    if (!(await ringKeys(db)).some((key) => key.kid === kid)) throw new Error(`There is no key ${kid}.`);
    if (!yes && !(await confirm(`Revoke ${kid}? Every token that it signed stops verifying.`))) {
      throw new Error('Nothing was revoked.');
    }
    return revokeKey(db, encryption, kid, operator());
  });
  if (!revocation) throw new Error(`${kid} was revoked before.`);
  if (json) return printJson({ revoked: kid, ...revocation });
  print(`Revoked ${kid} (${revocation.alg}, it was ${revocation.was}).`);
  if (revocation.was === 'current') print(`${revocation.signs} signs now.`);
  print(`Copies of the JWKS may be kept for ${jwksMaxAgeSeconds / 60} minutes: until then others may still accept it.`);
}

async function importPem(file: string, { json }: { json?: true }): Promise<void> {
  const key = await readPem(await readFile(file, 'utf8'));
  if (!key) {
    throw new Error(
      `${file} is not an unencrypted PKCS#8 PEM ("BEGIN PRIVATE KEY") of an RSA key of 2048 bits or more, or of an EC P-256 or Ed25519 key; \`openssl pkcs8 -topk8 -nocrypt\` converts other PEMs.`,
    );
  }
  const { kid, alg } = key;
  const outcome = await withKeys((db, encryption) => importKey(db, encryption, key, operator()));
  if ('known' in outcome) throw new Error(`The ring has this key already: ${kid} is ${outcome.known}.`);
  if (json) return printJson({ imported: kid, alg, replaced: outcome.replaced });
  print(`Imported ${kid}: it waits to sign ${alg}${outcome.replaced ? `, in place of ${outcome.replaced}` : ''}.`);
}

async function encryptAgain({ json }: { json?: true }): Promise<void> {
  const { reEncrypted, unreadable } = await withKeys((db, encryption) => reEncrypt(db, encryption, operator()));
  if (json) return printJson({ re_encrypted: reEncrypted, unreadable });
  print(
    `Encrypted ${reEncrypted} text(s) again. Nothing that lasts needs the older keys; in an hour nothing at all does.`,
  );
  if (unreadable > 0) print(`${unreadable} text(s) cannot be opened with any OIDC_ENCRYPTION_KEY given here.`);
}

type Work<T> = (db: Parameters<typeof ringKeys>[0], encryption: Encryption, brought: KeyPair | undefined) => Promise<T>;

function withKeys<T>(work: Work<T>): Promise<T> {
  return withDatabase(async (db, config) =>
    work(db, createEncryption(config.encryptionKeys), await readBroughtKey(config.jwksPrivateKey)),
  );
}

function formatMinute(date: Date): string {
  return `${date.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}
