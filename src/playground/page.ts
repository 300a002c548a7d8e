import type { Ink, Pages, PlaygroundStep } from '../http/views.ts';
import { type Exchange, jsonOf } from './exchange.ts';
import { tokenView } from './id-token-view.ts';
import { requestInk, responseInk } from './ink.ts';
import { isFull, type Run } from './run.ts';
import type { Step } from './steps.ts';
import { stepWords } from './words.ts';

/** The page of a run: every step, and what can be tried next. */
export function runPage(run: Run): Pages['playground/run'] {
  return {
    startUrl: '/playground/runs',
    stage: run.stage !== 'finished' ? 'unfinished' : run.tokens ? 'complete' : 'stopped',
    steps: run.steps.map((step, position) => ({ id: `step-${position + 1}`, ...stepWords(step), ...stepView(step) })),
    next: run.tokens && !isFull(run) ? nextActions(run.tokens.refresh !== undefined) : [],
  };
}

/** Where on the page of a run its last step is. */
export function lastStepUrl(run: Run): string {
  return `/playground/run#step-${run.steps.length}`;
}

function nextActions(canRefresh: boolean): Pages['playground/run']['next'] {
  return [
    canRefresh
      ? {
          icon: 'refresh',
          id: 'playground-refresh',
          action: '/playground/run/refresh',
          title: 'Get new tokens',
          text: 'With the refresh token, while nobody is there.',
          button: 'Refresh',
        }
      : {
          icon: 'refresh',
          id: 'playground-start',
          action: '/playground/runs',
          title: 'Get new tokens',
          text: 'There’s no refresh token. Run it again and tick “Stay connected while you’re away”.',
          button: 'Run it again',
        },
    {
      icon: 'ask',
      id: 'playground-introspection',
      action: '/playground/run/introspection',
      title: 'Ask if the token still works',
      text: 'As an API would that is shown it.',
      button: 'Introspect',
    },
    {
      icon: 'stop',
      id: 'playground-revocation',
      action: '/playground/run/revocation',
      title: 'Take the access back',
      text: 'And see that the token no longer works.',
      button: 'Revoke',
    },
    {
      icon: 'leave',
      id: 'playground-sign-out',
      action: '/playground/run/sign-out',
      title: 'Sign out',
      text: 'Of this server, at the app’s request.',
      button: 'Sign out',
    },
  ];
}

type StepView = Pick<PlaygroundStep, 'exchange' | 'token'>;

function stepView(step: Step): StepView {
  switch (step.name) {
    case 'authorization-request':
    case 'logout-request':
      return {
        exchange: browserView(step.url, shortToken(step.parameters), { title: 'Request', aside: 'in the browser' }),
      };
    case 'authorization-response':
      return {
        exchange: {
          ...browserView(step.url, step.parameters, {
            title: 'Response',
            aside: `${seconds(step.milliseconds)} later`,
          }),
          checks: step.checks,
        },
      };
    case 'logout-response':
      return {
        exchange: {
          ...browserView(step.url, step.parameters, { title: 'Response', aside: 'in the browser' }),
          checks: step.checks,
        },
      };
    case 'no-refresh-token':
      return {};
    case 'id-token':
      return {
        exchange: { ...exchangeView(step.keys), open: false },
        ...(step.findings && { token: tokenView(step.findings, step.keys.url) }),
      };
    case 'discovery':
      return { exchange: { ...exchangeView(step.exchange), open: false, checks: step.checks } };
    case 'token':
      return { exchange: exchangeView(withShortIdToken(step.exchange)) };
    case 'userinfo':
    case 'refresh':
      return { exchange: { ...exchangeView(step.exchange), checks: step.checks } };
    case 'introspection':
    case 'revocation':
      return { exchange: exchangeView(step.exchange) };
  }
}

type ExchangeView = NonNullable<PlaygroundStep['exchange']>;

/** What went through the address bar. The app sees neither status nor time of it. */
function browserView(
  url: string,
  parameters: Exchange['parameters'],
  { title, aside }: { title: string; aside: string },
): ExchangeView {
  const code = requestInk({ method: 'GET', url, headers: [], parameters });
  return { method: 'GET', path: new URL(url).pathname, aside, open: true, parts: [{ title, code }], checks: [] };
}

function exchangeView(exchange: Exchange): ExchangeView {
  const { method, url, milliseconds, response } = exchange;
  const parts: { title: string; code: Ink[] }[] = [{ title: 'Request', code: requestInk(exchange) }];
  if (response) parts.push({ title: 'Response', code: responseInk(response) });
  const status = response
    ? { text: String(response.status), ok: response.status < 300 }
    : { text: 'no answer', ok: false };
  return {
    method,
    path: new URL(url).pathname,
    status,
    aside: `${milliseconds} ms`,
    open: true,
    parts,
    checks: [],
  };
}

function seconds(milliseconds: number): string {
  return `${Math.max(1, Math.round(milliseconds / 1000))} s`;
}

const shorten = (token: string) => `${token.slice(0, 20)}…`;

/** The whole ID token is shown once, where it is read. */
function withShortIdToken(exchange: Exchange): Exchange {
  const { response } = exchange;
  const json = jsonOf(response?.body ?? '');
  if (!response || typeof json?.id_token !== 'string') return exchange;
  return {
    ...exchange,
    response: { ...response, body: JSON.stringify({ ...json, id_token: shorten(json.id_token) }) },
  };
}

function shortToken(parameters: Exchange['parameters']): Exchange['parameters'] {
  return parameters.map(([name, value]) => [name, name === 'id_token_hint' ? shorten(value) : value] as const);
}
