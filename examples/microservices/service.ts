/** What each of the three programs does alike: its settings, Latchkey at the start, listening, and ending. */
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import express, { type Express } from 'express';
import helmet from 'helmet';
import { answerProblem, reasonOf } from './problems.ts';
import { findProvider, issuer, type Provider } from './provider.ts';
import { say } from './say.ts';

const { TLS_CERT_FILE, TLS_KEY_FILE } = process.env;

/** Where a service is when nobody says otherwise: on this machine, by https if there is a certificate. */
export function addressOf(port: string): string {
  return `${TLS_CERT_FILE ? 'https' : 'http'}://localhost:${port}`;
}

/** Ends the program with a line for whoever started it. */
export function fail(sentence: string): never {
  console.error(sentence);
  process.exit(1);
}

/** Latchkey, with the credentials of this program. Without either the program does not start. */
export async function connect(): Promise<Provider> {
  const { CLIENT_ID: client_id, CLIENT_SECRET: client_secret } = process.env;
  if (!client_id || !client_secret)
    fail('Set CLIENT_ID and CLIENT_SECRET; `npm start` does it for all three programs.');
  return findProvider({ client_id, client_secret }).catch((error: unknown) => fail(sayUnreachable(error)));
}

export function sayUnreachable(error: unknown): string {
  // Something answered, and it was no discovery document, or that of another issuer.
  if (/^OAUTH_(INVALID_RESPONSE|JSON|PARSE|RESPONSE_IS)/.test((error as { code?: string }).code ?? ''))
    return `${issuer} answers, but is not that issuer (${reasonOf(error)}). Is ISSUER right?`;
  const next = /self-signed|unable to (verify|get)/.test(reasonOf(error))
    ? 'Set NODE_EXTRA_CA_CERTS to the PEM file of the authority that signed its certificate.'
    : 'Start it with `npm start` in its own folder, or set ISSUER.';
  return `Latchkey does not answer at ${issuer} (${reasonOf(error)}). ${next}`;
}

/** An application whose every answer has the headers of a careful one. */
export function createApp(): Express {
  const [none, own] = [["'none'"], ["'self'"]];
  const directives = { defaultSrc: none, styleSrc: own, formAction: own, baseUri: none, frameAncestors: none };
  return express().use(
    helmet({
      contentSecurityPolicy: { useDefaults: false, directives },
      // It would hold for all of localhost, whatever runs there. At a name of your own take this line away.
      strictTransportSecurity: false,
    }),
  );
}

/** Answers on loopback, by https with the certificate in TLS_CERT_FILE and its key in TLS_KEY_FILE. */
export function serve(app: Express, defaultPort: string): void {
  app.use(
    (_req, res) => void res.status(404).json({ error: 'not_found', error_description: 'There is nothing here.' }),
  );
  app.use(answerProblem);
  const { PORT = defaultPort } = process.env;
  const server =
    TLS_CERT_FILE && TLS_KEY_FILE
      ? createHttpsServer({ cert: readFileSync(TLS_CERT_FILE), key: readFileSync(TLS_KEY_FILE) }, app)
      : createHttpServer(app);
  server.once('error', (error) =>
    fail(`Cannot listen at ${addressOf(PORT)} (${error.message}). Stop what listens there, or choose another port.`),
  );
  server.listen(Number(PORT), '127.0.0.1', () => {
    say(`listens at ${addressOf(PORT)}`);
    // Tells start.ts, if that started it; and ends with it.
    process.send?.('listening');
  });
  process.on('disconnect', () => process.exit(0));
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));
}
