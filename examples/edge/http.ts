/**
 * Small things about requests and answers.
 */

export function redirect(to: string, ...cookies: string[]): Response {
  return answer(null, { status: 303, headers: { location: to } }, cookies);
}

export function page(body: string, status = 200, cookies: string[] = []): Response {
  return answer(body, { status, headers: { 'content-type': 'text/html; charset=utf-8' } }, cookies);
}

export function json(body: object, status = 200, cookies: string[] = []): Response {
  return answer(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } }, cookies);
}

function answer(body: string | null, init: { status: number; headers: Record<string, string> }, cookies: string[]) {
  const headers = new Headers(init.headers);
  for (const cookie of cookies) headers.append('set-cookie', cookie);
  return new Response(body, { status: init.status, headers });
}

/** A browser that shows something to a person; who sends a token is a program. */
export function wantsPage(request: Request): boolean {
  return !request.headers.has('authorization') && (request.headers.get('accept') ?? '').includes('text/html');
}
