/**
 * A request that is answered with no. worker.ts makes a page of it for a person, and JSON for a program.
 */

export class Refusal extends Error {
  readonly status: number;
  /** As in RFC 6750 §3.1 where that has one; undefined for a 401 to somebody who showed nothing at all. */
  readonly error: string | undefined;
  readonly scope: string | undefined;
  /** Cookies that go with the answer. */
  readonly cookies: string[];
  readonly title: string | undefined;

  constructor(
    status: number,
    error: string | undefined,
    description: string,
    more: { scope?: string; cookies?: string[]; title?: string } = {},
  ) {
    super(description);
    this.status = status;
    this.error = error;
    this.scope = more.scope;
    this.cookies = more.cookies ?? [];
    this.title = more.title;
  }

  /** RFC 9110 §11.6.1: a 401 says how to do better; RFC 6750 §3 what goes in. */
  challenge(): string {
    const facts = {
      realm: 'tidewater',
      error: this.error,
      error_description: this.error && this.message,
      scope: this.scope,
    };
    const written = Object.entries(facts).flatMap(([name, value]) => (value ? [`${name}="${value}"`] : []));
    return `Bearer ${written.join(', ')}`;
  }
}
