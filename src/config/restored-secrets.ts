import { findSecret, replaceSecret } from './generated-secrets.ts';

/** The names of the files in DATA_DIR. */
export type SecretName = 'cookie-secret' | 'encryption-key';

/**
 * Puts secrets that come with data into `dataDir`, in two steps around the moment in which the data are there: `before`
 * it both the new ones and those that were there are good, `after` it the new ones alone. So a crash in between leaves
 * secrets that open whichever data there are. Both throw the file system's error.
 */
export function restoreSecrets(
  dataDir: string,
  secrets: Partial<Record<SecretName, string>>,
): { placed: SecretName[]; before: () => void; after: () => void } {
  const others = (Object.entries(secrets) as [SecretName, string][])
    .map(([name, text]) => ({ name, text, old: findSecret(dataDir, name) }))
    .filter(({ text, old }) => text !== old);
  return {
    placed: others.map(({ name }) => name),
    before: () => {
      for (const { name, text, old } of others) replaceSecret(dataDir, name, old ? `${text},${old}` : text);
    },
    after: () => {
      for (const { name, text, old } of others) if (old) replaceSecret(dataDir, name, text);
    },
  };
}
