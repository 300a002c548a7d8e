/** What an answer to bad input must look like. */
import { expect } from 'vitest';
import { readText } from '../support/person.ts';

export type Answer = { status: number; type: string; text: string };

export async function answerOf(response: Response): Promise<Answer> {
  const { status, headers } = response;
  return { status, type: headers.get('content-type') ?? '', text: await response.text() };
}

export function expectJson({ status, type, text }: Answer, expected: number | number[]): void {
  expect([expected].flat()).toContain(status);
  expect(type).toContain('application/json');
  expect(JSON.parse(text)).toMatchObject({
    error: expect.stringMatching(/^\w+$/),
    error_description: expect.stringMatching(/\w+ \w+/),
  });
  expectNoInside(text);
}

export function expectPage({ status, type, text }: Answer, expected: number | number[]): void {
  expect([expected].flat()).toContain(status);
  expect(type).toContain('text/html');
  expect(readText(text)).toMatch(/\w+ \w+/);
  expectNoInside(text);
}

/** Nothing of how it is made: no stack, no file, no SQL, no name of a library's error. */
export function expectNoInside(text: string): void {
  expect(text).not.toMatch(
    /\bat \S+ \(|node_modules|\.(ts|js):\d|(Syntax|Type|Range|Zod|Postgres)Error|select |insert into/,
  );
}
