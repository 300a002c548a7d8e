/** The steps as people read them: what it is for, what was said, what was checked. */
import { element } from './dom.ts';
import type { Seen } from './steps.ts';
import type { Exchange, Pair } from './wire.ts';
import { asText, explainClaim, inReadingOrder, type StepName, stepWords } from './words.ts';

/** Stands at the end of the page, whoever is signed in. */
export const trace = element('ol', { class: 'trace', id: 'trace' });

export function showStep(name: StepName, seen: Seen): void {
  const { title, text } = stepWords[name];
  const { redirect, facts, claims, checks, problem } = seen;
  trace.append(
    element(
      'li',
      { 'data-step': name },
      element('h3', {}, title),
      element('p', { class: 'soft' }, text),
      redirect && details('Browser', redirect.url, '', block(lines(redirect.parameters))),
      ...seen.exchanges.map(exchangeDetails),
      facts && block(Object.entries(facts).map(([fact, value]) => `${fact}: ${asText(value)}`)),
      claims && claimList(claims),
      checks.length > 0
        ? element('ul', { class: 'checks' }, ...checks.map((check) => element('li', {}, check)))
        : undefined,
      problem === undefined ? undefined : element('p', { class: 'problem' }, problem),
    ),
  );
}

export function forgetSteps(): void {
  trace.replaceChildren();
}

function exchangeDetails({ method, url, headers, form, proof, answer }: Exchange): HTMLElement {
  const asked = [...headers.map(([name, value]) => `${name}: ${value}`), ...lines(form)];
  const answered = [
    ...(answer?.headers ?? []).map(([name, value]) => `${name}: ${value}`),
    ...(answer?.body === undefined ? [] : [JSON.stringify(answer.body, null, 2)]),
  ];
  return details(
    method,
    new URL(url).pathname,
    String(answer?.status ?? 'no answer'),
    ...(asked.length > 0 ? [element('h4', {}, 'Sent'), block(asked)] : []),
    ...(proof ? [element('h4', {}, 'The proof says'), block([JSON.stringify(proof, null, 2)])] : []),
    ...(answered.length > 0 ? [element('h4', {}, 'Answer'), block(answered)] : []),
  );
}

function details(what: string, where: string, status: string, ...children: Node[]): HTMLElement {
  const summary = element('summary', {}, element('code', {}, element('b', {}, what), ` ${where} `), status);
  return element('details', {}, summary, ...children);
}

function block(text: readonly string[]): HTMLElement {
  return element('pre', {}, element('code', {}, text.join('\n')));
}

const lines = (pairs: readonly Pair[]) => pairs.map(([name, value]) => `${name} = ${value}`);

function claimList(claims: Readonly<Record<string, unknown>>): HTMLElement {
  const rows = inReadingOrder(claims).map(([name, claim]) => {
    const { value, text } = explainClaim(name, claim);
    return element(
      'div',
      {},
      element('dt', {}, element('code', {}, name)),
      element('dd', {}, element('code', {}, value), element('p', { class: 'soft' }, text)),
    );
  });
  return element('dl', {}, ...rows);
}
