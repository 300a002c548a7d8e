/** What the modules of a FAPI 2.0 plan share: one provider, two clients of the variant, and a person who signed in before. */
import { afterAll, afterEach, beforeAll, expect, vi } from 'vitest';
import type { Person } from '../support/person.ts';
import { expectRefused } from './expectations.ts';
import { type FapiSuite, newParty, obtainCode, type Party, push, startFapiSuite, type Variant } from './fapi2-party.ts';
import { type AuthorizationRequest, newPerson } from './harness.ts';
import type { Answer, Fields } from './http.ts';

export type Plan = { suite: FapiSuite; party: Party; second: Party; person: Person };

/** Filled in before the first module runs. */
export function usePlan(variant: Variant): Plan {
  const plan = {} as Plan;
  beforeAll(async () => {
    plan.suite = await startFapiSuite(variant);
    plan.party = await newParty(plan.suite);
    plan.second = await newParty(plan.suite);
    plan.person = newPerson(plan.suite);
    for (const party of [plan.party, plan.second]) await obtainCode(plan.suite, party, { person: plan.person });
  });
  afterAll(() => plan.suite.app.close());
  afterEach(() => {
    vi.useRealTimers();
  });
  return plan;
}

/** Asserts that a request cannot even be pushed, for one of the reasons. */
export async function expectNotPushed(
  { suite, party }: Plan,
  request: AuthorizationRequest,
  codes: string[],
  changes: Fields = {},
  headers: Record<string, string> = {},
): Promise<void> {
  expectRefused(await push(suite, party, request, changes, headers), codes, [400]);
}

/** Asserts that an access token no longer works, or never did. */
export function expectResourceRefused({ status, text }: Answer): void {
  expect([400, 401], text).toContain(status);
}
