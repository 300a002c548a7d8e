/**
 * The pages. `html` writes what stands in `${…}` as text, so that nothing that came from outside becomes markup.
 */
import type { Refusal } from './refusal.ts';
import type { Caller } from './resource.ts';
import type { Session } from './session.ts';
import type { Tide } from './tides.ts';

class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Part = Markup | Markup[] | string | number;

function html(texts: TemplateStringsArray, ...parts: Part[]): Markup {
  const written = parts.map((part) => [part].flat().map(write).join(''));
  return new Markup(texts.map((text, index) => text + (written[index] ?? '')).join(''));
}

function write(part: Markup | string | number): string {
  if (part instanceof Markup) return part.text;
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return String(part).replace(/[&<>"']/g, (character) => entities[character] ?? '');
}

const clock = (when: string | number) => html`<time>${new Date(when).toISOString().slice(11, 16)} UTC</time>`;

export function homePage(session: Session | undefined): string {
  if (!session) {
    return layout(
      'Tides of the harbour',
      html`<p>The tide table is for people who sign in. The edge that is nearest to you decides, and nobody else is asked.</p>
        <p><a class="button main" href="/login">Sign in with Latchkey</a></p>
        <p class="soft">Without signing in, <a href="/resource/tides">the table</a> is refused.</p>`,
    );
  }
  const lasting = session.refreshToken
    ? 'then it is renewed'
    : 'then you sign in again: you did not allow lasting access';
  return layout(
    `Signed in as ${session.name}`,
    html`<p><a class="button main" href="/resource/tides">See the tides</a></p>
      <dl>
        <div><dt>Account</dt><dd><code>${session.sub}</code></dd></div>
        <div><dt>Access token</dt><dd>until ${clock(session.accessTokenEnds)}, ${lasting}</dd></div>
        <div><dt>Renewals so far</dt><dd id="renewals">${session.renewals}</dd></div>
        <div><dt>Session</dt><dd>until ${clock(session.ends * 1000)}</dd></div>
      </dl>
      <form method="post" action="/logout"><button class="button">Sign out</button></form>`,
  );
}

/** The yes: what was asked for, and why it was given. */
export function tidesPage(
  { token, by }: Caller,
  tides: Tide[],
  reading: { metres: number; at: string } | null,
): string {
  return layout(
    'Tides of the harbour',
    html`<p class="verdict good"><strong>Accepted.</strong> Your ${by} leads to an access token that is good for this.</p>
      <ul class="rows">
        ${tides.map(({ at, kind, metres }) => html`<li><span>${clock(at)}</span> <span>${kind}</span> <span>${metres} m</span></li>`)}
      </ul>
      ${reading ? html`<p id="reading">Somebody read ${reading.metres} m at ${clock(reading.at)}.</p>` : ''}
      <form method="post" action="/resource/readings">
        <label for="metres">Water level in metres</label>
        <input id="metres" name="metres" inputmode="decimal" required autocomplete="off">
        <button class="button main">Report</button>
      </form>
      <h2>What was checked</h2>
      <dl>
        <div><dt>Issued by</dt><dd><code>${token.iss ?? ''}</code></dd></div>
        <div><dt>For this API</dt><dd><code>${String(token.aud)}</code></dd></div>
        <div><dt>It allows</dt><dd><code>${token.scopes.join(' ')}</code></dd></div>
        <div><dt>Good until</dt><dd>${clock(token.exp * 1000)}</dd></div>
      </dl>
      <p><a href="/">Back to the start</a></p>`,
  );
}

const titles: Record<number, string> = {
  400: 'That does not fit',
  401: 'You are not signed in',
  403: 'Your sign-in does not cover this',
  404: 'There is no such page',
  502: 'Signing in does not work now',
  503: 'Signing in is away for a moment',
};

/** The no: why, and a way on. */
export function refusalPage(refusal: Refusal, url: URL): string {
  const { status, scope, message } = refusal;
  const signIn = `/login?${new URLSearchParams({ return_to: url.pathname.startsWith('/resource/') ? url.pathname : '/' })}`;
  const wayOn = {
    400: url.pathname === '/callback' ? html`<a class="button main" href="${signIn}">Sign in again</a>` : html``,
    401: html`<a class="button main" href="${signIn}">Sign in with Latchkey</a>`,
    403: scope ? html`<a class="button main" href="${signIn}">Sign in again and allow it</a>` : html``,
    503: html`<a class="button main" href="${url.pathname === '/login' ? url.pathname + url.search : '/'}">Try again</a>`,
  }[status];
  return layout(
    refusal.title ?? titles[status] ?? 'Something broke here',
    html`<p class="verdict bad" role="alert"><strong>${status === 404 ? 'Not found' : 'Refused'} (${status}).</strong> ${message}</p>
      <p class="ways">${wayOn ?? ''} <a class="button" href="/">Back to the start</a></p>`,
  );
}

function layout(title: string, body: Markup): string {
  return html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${title} · Tidewater</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="/style.css">
  </head>
  <body>
    <header><a href="/">Tidewater</a></header>
    <main>
      <h1>${title}</h1>
      ${body}
    </main>
  </body>
</html>`.text;
}
