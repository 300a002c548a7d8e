import type { Ink } from '../http/views.ts';
import { type Exchange, jsonOf, type Pair } from './exchange.ts';

/** Requests and answers as text for a code block, with what is a name and what only joins marked as such. */

export function requestInk({
  method,
  url,
  headers,
  parameters,
}: Pick<Exchange, 'method' | 'url' | 'headers' | 'parameters'>): Ink[] {
  const line = { text: `${method} ${new URL(url).pathname}` };
  if (method === 'GET') return [line, ...headerInk(headers), ...parameterInk(parameters, '\n?')];
  const form: Pair = ['content-type', 'application/x-www-form-urlencoded'];
  return [line, ...headerInk([...headers, form]), ...parameterInk(parameters, '\n\n')];
}

export function responseInk({ status, statusText, headers, body }: NonNullable<Exchange['response']>): Ink[] {
  return [{ text: `${status} ${statusText}`.trim() }, ...headerInk(headers), ...(body ? bodyInk(body) : [])];
}

function headerInk(headers: readonly Pair[]): Ink[] {
  return headers.flatMap(([name, value]) => [
    { text: '\n' },
    { text: name, as: 'name' } as const,
    { text: `: ${value}` },
  ]);
}

function parameterInk(parameters: readonly Pair[], before: string): Ink[] {
  return parameters.flatMap(([name, value], position) => [
    { text: position === 0 ? before : '\n&', as: 'join' } as const,
    { text: name, as: 'name' } as const,
    { text: `=${value}` },
  ]);
}

function bodyInk(body: string): Ink[] {
  const json = jsonOf(body);
  return [{ text: '\n\n' }, ...(json ? jsonInk(json) : [{ text: body }])];
}

/** JSON over several lines, its member names marked. */
export function jsonInk(json: Record<string, unknown>): Ink[] {
  return JSON.stringify(json, null, 2)
    .split('\n')
    .flatMap((line, position): Ink[] => {
      const start = position === 0 ? '' : '\n';
      const member = /^(\s*)("(?:[^"\\]|\\.)*")(: .*)$/.exec(line);
      if (!member) return [{ text: start + line }];
      const [, indent = '', name = '', rest = ''] = member;
      return [{ text: start + indent }, { text: name, as: 'name' }, { text: rest }];
    });
}
