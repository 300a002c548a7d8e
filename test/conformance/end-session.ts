/** OpenID Connect RP-Initiated Logout 1.0 as a browser meets it. */
import type { Page, Person } from '../support/person.ts';
import type { Suite } from './harness.ts';
import { type Fields, given } from './http.ts';

/** Sends a browser to the end session endpoint; the person confirms when asked. Answers where that ends. */
export async function endSession(suite: Suite, person: Person, parameters: Fields): Promise<Page> {
  const query = new URLSearchParams(given(parameters));
  const page = await person.open(`${suite.metadata.end_session_endpoint}?${query}`);
  return page.html.includes('id="logout"') ? person.submit(page, 'logout', {}, 'logout-confirm') : page;
}
