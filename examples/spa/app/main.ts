/**
 * Chapter 3: the page is loaded. Either the browser comes back from the provider with an answer in its address, or
 * somebody opens the app. Then it waits for what the person does.
 */
import { showLastStep, showSignedIn, showSignedOut } from './page.ts';
import { takeSignIn, takeSignOut, wasSignedIn } from './pending.ts';
import { NothingPendingError, type Problem, problemOf, SignedOutError } from './problems.ts';
import { askUserinfo, canRefresh, refresh, tryWithoutKey } from './session.ts';
import { finishSignIn, startSignIn } from './sign-in.ts';
import { signOut } from './sign-out.ts';

/** One thing after the other, however fast somebody presses: a refresh token must not be used twice at once. */
let last: Promise<void> = Promise.resolve();

const here = new URL(location.href);
// Before anything else: no code in the address bar, in the history, or in a reload (RFC 9700 §4.3.1).
history.replaceState(null, '', '/');

if (here.pathname === '/callback') await comeBack(here.searchParams);
else if (here.pathname === '/signed-out') sayGoodbye(here.searchParams.get('state'));
else if (wasSignedIn()) await signIn({ silent: true });
else offerSignIn();

async function comeBack(answer: URLSearchParams): Promise<void> {
  try {
    const pending = takeSignIn();
    if (!pending) throw new NothingPendingError();
    await finishSignIn(answer, pending);
    const { name, email } = await askUserinfo();
    showSignedIn({ name, email }, whenSignedIn());
  } catch (error) {
    offerSignIn(problemOf(error));
  }
}

async function signIn(how: { silent?: boolean; stayConnected?: boolean }): Promise<void> {
  try {
    await startSignIn(how);
  } catch (error) {
    offerSignIn(problemOf(error));
  }
}

function offerSignIn(message?: Problem): void {
  showSignedOut({ signIn: (stayConnected) => void signIn({ stayConnected }) }, message);
}

function whenSignedIn() {
  return {
    askAgain: () => act(askUserinfo),
    tryWithoutKey: () => act(tryWithoutKey),
    ...(canRefresh() && { refresh: () => act(refresh) }),
    signOut: () => void leave(),
  };
}

function act(work: () => Promise<unknown>): void {
  last = last.then(work).then(showLastStep, (error) => {
    if (error instanceof SignedOutError) offerSignIn(problemOf(error));
    else showLastStep();
  });
}

async function leave(): Promise<void> {
  try {
    await last;
    await signOut();
    offerSignIn();
  } catch (error) {
    const { title } = problemOf(error);
    const text = `But the other half failed, so you may still be signed in there: ${title}`;
    offerSignIn({ title: 'This app has forgotten you.', text });
  }
}

/** Whether the person ended the session at the provider too is not told; what is held here is gone either way. */
function sayGoodbye(state: string | null): void {
  const expected = takeSignOut();
  const ours = expected !== undefined && expected === state;
  offerSignIn(ours ? { title: 'This app has forgotten you.', text: 'Its tokens are gone.' } : undefined);
}
