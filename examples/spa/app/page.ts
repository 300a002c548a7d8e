/** The two faces of the page: nobody is signed in, or somebody is. */
import { button, element } from './dom.ts';
import type { Problem } from './problems.ts';
import { issuer } from './provider.ts';
import { trace } from './trace.ts';

const main = document.querySelector('main') ?? document.body;

/** Read out by screen readers when its text changes, wherever the focus is. */
const news = element('p', { role: 'status', class: 'vh' });
document.body.append(news);

export function showSignedOut(actions: { signIn(stayConnected: boolean): void }, message?: Problem): void {
  const stay = element('input', { type: 'checkbox', id: 'stay' });
  show(
    element('h1', {}, 'Lamplight'),
    message && notice(message),
    element(
      'p',
      {},
      'An app that lives in your browser, and shows what it does. It asks Latchkey at ',
      element('code', {}, new URL(issuer).host),
      ' who you are.',
    ),
    element(
      'p',
      { class: 'tick' },
      stay,
      element(
        'label',
        { for: 'stay' },
        'Stay connected',
        element('small', {}, 'Asks for a refresh token. Latchkey will ask you about it, too.'),
      ),
    ),
    button('Sign in with Latchkey', 'sign-in', () => actions.signIn(stay.checked), 'main'),
    ...story(),
  );
}

type Actions = { askAgain(): void; tryWithoutKey(): void; refresh?: () => void; signOut(): void };
type Person = { name?: string | undefined; email?: string | undefined };

export function showSignedIn({ name, email }: Person, actions: Actions): void {
  show(
    element('h1', {}, name === undefined ? 'Hello' : `Hello, ${name}`),
    element(
      'p',
      {},
      email === undefined ? 'You kept your email to yourself.' : `You’re signed in as ${email}.`,
      ' The tokens are in this page’s memory, and gone when you close it.',
    ),
    element(
      'div',
      { class: 'flow' },
      button('Ask who I am', 'ask', actions.askAgain),
      button('Try it without the key', 'without-key', actions.tryWithoutKey),
      actions.refresh && button('Get new tokens', 'refresh', actions.refresh),
      button('Sign out', 'sign-out', actions.signOut),
    ),
    ...story(),
  );
}

/** Something happened below: says so, and brings it into view. */
export function showLastStep(): void {
  const last = trace.lastElementChild;
  last?.scrollIntoView({ block: 'nearest' });
  news.textContent = `Step ${trace.children.length}: ${last?.querySelector('h3')?.textContent}. ${last?.querySelector('.problem')?.textContent ?? 'Done.'}`;
}

function notice({ title, text }: Problem): HTMLElement {
  return element('p', { role: 'alert', class: 'notice' }, element('strong', {}, title), ` ${text}`);
}

function story(): Node[] {
  return trace.childElementCount === 0 ? [] : [element('h2', {}, 'What was said'), trace];
}

function show(...content: (Node | undefined)[]): void {
  main.replaceChildren(...content.filter((node) => node !== undefined));
}
