/** One request over the real path, as a client makes it: by name, through every proxy, and no redirect followed. */
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { type SecureContext, TLSSocket } from 'node:tls';

export type Answer = {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
  /** When the server's certificate ends; absent over plain http. */
  certificateEndsAt?: Date;
  /** Halfway between question and answer, by this machine's clock, epoch milliseconds. */
  at: number;
  tookMs: number;
};

export type AskOptions = {
  headers?: Record<string, string>;
  /** Whom to trust, when not the usual authorities alone. */
  trust?: SecureContext | undefined;
  /** Goes on although the certificate is not trusted: nothing secret is sent. */
  insecure?: boolean;
};

const patienceMs = 10_000;
const longestAnswer = 1024 * 1024;

/** Throws Node's error, whose `code` says why there was no answer. */
export function ask(url: string, { headers = {}, trust, insecure = false }: AskOptions = {}): Promise<Answer> {
  const startedAt = performance.now();
  const now = Date.now();
  const secure = url.startsWith('https:');
  const options = {
    headers: { accept: 'application/json, text/plain', 'user-agent': 'latchkey-doctor', ...headers },
    agent: false as const,
    signal: AbortSignal.timeout(patienceMs),
    ...(secure && { rejectUnauthorized: !insecure, ...(trust && { secureContext: trust }) }),
  };
  return new Promise((resolve, reject) => {
    const request = (secure ? httpsRequest : httpRequest)(url, options, async (response) => {
      try {
        const { socket } = response;
        const endsAt = socket instanceof TLSSocket ? socket.getPeerCertificate().valid_to : undefined;
        let body = '';
        for await (const chunk of response.setEncoding('utf8')) {
          body += chunk;
          if (body.length > longestAnswer) throw new Error('the answer never ends');
        }
        const tookMs = performance.now() - startedAt;
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body,
          ...(endsAt && { certificateEndsAt: new Date(endsAt) }),
          at: now + tookMs / 2,
          tookMs,
        });
      } catch (error) {
        reject(error);
      }
    });
    request.on('error', reject).end();
  });
}

export function errorCode(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return 'ETIMEDOUT';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}

export function parseJson(text: string): Record<string, unknown> | undefined {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
