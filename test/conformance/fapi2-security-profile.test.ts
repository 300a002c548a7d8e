/** OpenID Foundation, `fapi2-security-profile-final-test-plan` (plain_fapi, openid_connect), with the two ends of its variants. */
import { describe } from 'vitest';
import { usePlan } from './fapi2-plan.ts';
import { testRequestModules } from './fapi2-request-modules.ts';
import { testDPoPModules, testTokenModules } from './fapi2-token-modules.ts';

describe('private_key_jwt and DPoP', () => {
  const variant = { clientAuth: 'private_key_jwt', senderConstrain: 'dpop', messageSigning: false } as const;
  const plan = usePlan(variant);
  testRequestModules(plan, variant);
  testDPoPModules(plan);
  testTokenModules(plan, variant);
});

describe('mutual TLS for both', () => {
  const variant = { clientAuth: 'mtls', senderConstrain: 'mtls', messageSigning: false } as const;
  const plan = usePlan(variant);
  testRequestModules(plan, variant);
  testTokenModules(plan, variant);
});
