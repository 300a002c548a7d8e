/**
 * Chapter 0: the line to the provider. Every request that this app itself sends goes through here, so that one kind of
 * error stands for "nobody is there": no connection, no answer in time, or one that says "not now".
 */
export class ProviderUnavailable extends Error {
  override name = 'ProviderUnavailable';
}

/** Seconds after which a request is given up; a person is waiting for it. */
export const patience = 5;

/** `fetch` that throws `ProviderUnavailable`. Any other answer is for the caller to judge, refusals included. */
export async function askProvider(url: string, options: RequestInit): Promise<Response> {
  const signal = options.signal ?? AbortSignal.timeout(patience * 1000);
  const response = await fetch(url, { ...options, signal }).catch((cause: unknown) => {
    throw new ProviderUnavailable(`${new URL(url).origin} does not answer`, { cause });
  });
  if (response.status >= 500 || response.status === 429) {
    throw new ProviderUnavailable(`${new URL(url).origin} answers ${response.status}`);
  }
  return response;
}

/** Libraries wrap errors in errors of their own; this looks through them. */
export function isUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error instanceof ProviderUnavailable || isUnavailable(error.cause);
}
