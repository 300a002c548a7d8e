import type { Problem } from '../http/views.ts';
import { type Exchange, jsonOf, resultOf } from './exchange.ts';
import { isGood } from './id-token.ts';
import type { Step } from './steps.ts';

/** What a step is called, what it is for, and what went wrong in it or is to be noted about it. */
export type StepWords = { title: string; text: string; problem?: Problem | undefined; note?: Problem | undefined };

export function stepWords(step: Step): StepWords {
  switch (step.name) {
    case 'discovery':
      return {
        title: 'Find the addresses',
        text: 'One well-known address says where everything else is. An app needs to be told nothing but the issuer.',
        problem: exchangeProblem(step.exchange) ?? discoveryProblem(step),
      };
    case 'authorization-request':
      return {
        title: 'Ask for a sign-in',
        text: 'The browser goes to the server with what the app wants and a fingerprint of a secret the app keeps.',
      };
    case 'authorization-response': {
      const problem = responseProblem(step);
      return problem
        ? { title: 'Come back without a code', text: 'The browser brings the server’s answer to the app.', problem }
        : {
            title: 'Come back with a code',
            text: 'The person signed in and allowed it. The code works once, for a minute, and only with the app’s secret.',
          };
    }
    case 'token':
      return {
        title: 'Swap the code for tokens',
        text: 'Server to server. The secret is shown now, and the server checks it against the fingerprint.',
        problem: exchangeProblem(step.exchange) ?? answerProblem(step.exchange, ['access_token', 'id_token']),
      };
    case 'id-token':
      return {
        title: 'Read the ID token',
        text: 'Three parts, joined by dots: what it is, what it says, and proof that nobody changed it.',
        problem: idTokenProblem(step),
      };
    case 'userinfo':
      return {
        title: 'Ask who they are',
        text: 'The access token opens the userinfo address. It shows only what the person allowed.',
        problem: exchangeProblem(step.exchange),
      };
    case 'refresh':
      return {
        title: 'Get new tokens',
        text: 'Nobody has to be there. The refresh token is used up, and its successor comes with the answer.',
        problem: refreshProblem(step.exchange),
      };
    case 'no-refresh-token':
      return {
        title: 'Get new tokens',
        text: 'An app that works while the person is away needs a refresh token, and their yes to it.',
        note: noRefreshToken,
      };
    case 'introspection':
      return introspectionWords(step.exchange);
    case 'revocation':
      return {
        title: 'Take the access back',
        text:
          step.token === 'refresh'
            ? 'Revoking the refresh token ends every token of the same sign-in. The next step is the proof.'
            : 'Revoking the access token ends it before its time. The next step is the proof.',
        problem: exchangeProblem(step.exchange),
      };
    case 'logout-request':
      return {
        title: 'Ask to sign out',
        text: 'The browser goes to the server with the ID token, which says who is meant. The person decides there.',
      };
    case 'logout-response':
      return {
        title: 'Come back from signing out',
        text: 'The app forgets the person now. It isn’t told which way they decided.',
      };
  }
}

function idTokenProblem({ keys, findings }: Extract<Step, { name: 'id-token' }>): Problem | undefined {
  if (!findings) return exchangeProblem(keys) ?? answerProblem(keys, ['keys']);
  if (isGood(findings)) return undefined;
  return { title: 'This ID token isn’t one to trust.', text: 'So nobody is signed in, and the tokens aren’t used.' };
}

/** Why there is nothing to refresh with, and how to come by it. */
const noRefreshToken: Problem = {
  title: 'There’s no refresh token.',
  text: 'You didn’t tick “Stay connected while you’re away”. Run it again and tick it to get one.',
};

function introspectionWords(exchange: Exchange): StepWords {
  const active = resultOf(exchange)?.active;
  const text =
    active === true
      ? 'It does: active is true, with who it is for and until when.'
      : active === false
        ? 'It doesn’t: active is false, and nothing more is said about it.'
        : 'Whoever is shown a token can ask the server what it is good for.';
  return { title: 'Ask if the token still works', text, problem: exchangeProblem(exchange) };
}

function discoveryProblem({ exchange, checks }: Extract<Step, { name: 'discovery' }>): Problem | undefined {
  if (checks.every(({ ok }) => ok)) return answerProblem(exchange, ['issuer', 'authorization_endpoint']);
  return { title: 'Another server answered.', text: 'The issuer it names isn’t the one that was asked for.' };
}

function responseProblem({
  parameters,
  checks,
}: Extract<Step, { name: 'authorization-response' }>): Problem | undefined {
  const { code, error, error_description: description } = Object.fromEntries(parameters);
  if (!checks.every(({ ok }) => ok)) {
    return {
      title: 'Another server answered.',
      text: 'Its iss isn’t the issuer that was asked, so nothing in it was used.',
    };
  }
  if (error === 'access_denied') {
    return { title: 'You didn’t allow it.', text: 'The app hears access_denied and learns nothing about you.' };
  }
  if (error !== undefined) return { title: `The server answered ${error}.`, text: description };
  if (!code) return { title: 'There’s no code in the answer.', text: 'An app can do nothing with it but start over.' };
  return undefined;
}

function refreshProblem(exchange: Exchange): Problem | undefined {
  const problem = exchangeProblem(exchange);
  if (jsonOf(exchange.response?.body ?? '')?.error !== 'invalid_grant') return problem;
  return {
    title: 'The server said no: invalid_grant.',
    text: 'The refresh token was revoked, used before, or has run out.',
  };
}

/** What is wrong when no answer came, or one that says no. */
function exchangeProblem({ url, response }: Exchange): Problem | undefined {
  if (!response) {
    const { origin } = new URL(url);
    return {
      title: `No answer from ${origin}.`,
      text: 'The app asks the server’s public address, as any app would. Whoever runs the server can check that the machine it runs on reaches that address.',
    };
  }
  if (response.status < 300) return undefined;
  const { error, error_description: description } = jsonOf(response.body) ?? {};
  return {
    title: `The server said no: ${typeof error === 'string' ? error : response.status}.`,
    text: typeof description === 'string' ? description : undefined,
  };
}

function answerProblem(exchange: Exchange, needed: readonly string[]): Problem | undefined {
  const missing = needed.find((name) => resultOf(exchange)?.[name] === undefined);
  return missing === undefined
    ? undefined
    : { title: 'The answer isn’t what it should be.', text: `There’s no ${missing} in it.` };
}
