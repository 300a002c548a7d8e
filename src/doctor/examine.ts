import { createSecureContext, getCACertificates } from 'node:tls';
import { type Database, openDatabase, reasonOf } from '../db/database.ts';
import { checkDatabase, checkTables } from './database.ts';
import { type DoctorConfig, type Finding, problem } from './finding.ts';
import { checkIssuer } from './issuer.ts';
import { checkKeys } from './keys.ts';
import { checkDataFolder, checkSettings } from './machine.ts';
import { checkMail, checkMailQueue } from './mail.ts';
import { checkRealPath } from './proxy.ts';

export type Examination = {
  config: DoctorConfig;
  /** Of the configuration, as a start logs them. */
  warnings: readonly string[];
  databaseUrl: string;
  /** PEM of an authority to trust besides the usual ones. */
  authority?: string | undefined;
  /** Whom to send a mail to. */
  mailTo?: string | undefined;
};

/** Looks at everything, one after the other; what cannot be looked at is a finding too. */
export async function examine({ config, warnings, databaseUrl, authority, mailTo }: Examination): Promise<Finding[]> {
  const attempt = async (check: string, look: () => Promise<Finding[]>): Promise<Finding[]> => {
    try {
      return await look();
    } catch (error) {
      return [problem(check, `It could not be looked at: ${reasonOf(error)}.`, 'Mend what else was found first.')];
    }
  };
  return [
    ...checkSettings(config, warnings),
    ...(await attempt('data folder', () => checkDataFolder(config))),
    ...(await attempt('database', () => withConnection(databaseUrl, (db) => examineDatabase(db)))),
    ...(await attempt('mail', () => checkMail(config, mailTo))),
    ...(await attempt('issuer', examinePath)),
  ];

  async function examineDatabase(db: Database): Promise<Finding[]> {
    const { findings, usable } = await checkDatabase(db, config);
    if (!usable) return findings;
    return [
      ...findings,
      ...(await attempt('tables', () => checkTables(db))),
      ...(await attempt('keys', () => checkKeys(db, config))),
      ...(await attempt('mail queue', async () => [await checkMailQueue(db)])),
    ];
  }

  async function examinePath(): Promise<Finding[]> {
    const trust = authority ? createSecureContext({ ca: [...getCACertificates('default'), authority] }) : undefined;
    const { findings, reached, untrusted } = await checkIssuer(config, trust);
    if (!reached) return findings;
    const path = { trust, insecure: untrusted };
    return [...findings, ...(await attempt('server', () => checkRealPath(config, path)))];
  }
}

async function withConnection<T>(url: string, work: (db: Database) => Promise<T>): Promise<T> {
  const database = openDatabase(url, { max: 1 });
  try {
    return await work(database.db);
  } finally {
    await database.close();
  }
}
