/**
 * OpenID Foundation, `fapi2-message-signing-final-test-plan` (plain_fapi, openid_connect, signed_non_repudiation, jarm): all
 * of the Security Profile's modules with signed requests and responses, and those about request objects. The two modules of
 * Australia's ConnectID are of another profile.
 */
import { describe } from 'vitest';
import { usePlan } from './fapi2-plan.ts';
import { testRequestModules } from './fapi2-request-modules.ts';
import { testRequestObjectModules } from './fapi2-request-object-modules.ts';
import { testDPoPModules, testTokenModules } from './fapi2-token-modules.ts';

describe('private_key_jwt and DPoP', () => {
  const variant = { clientAuth: 'private_key_jwt', senderConstrain: 'dpop', messageSigning: true } as const;
  const plan = usePlan(variant);
  testRequestModules(plan, variant);
  testRequestObjectModules(plan);
  testDPoPModules(plan);
  testTokenModules(plan, variant);
});
