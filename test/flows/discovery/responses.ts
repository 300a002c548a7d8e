/** What an authorization request may ask for, and how it is answered. */
import { UnsecuredJWT } from 'jose';
import { expect } from 'vitest';
import { scopeClaims } from '../../conformance/claims.ts';
import { expectCode, expectError, expectTokens } from '../../conformance/expectations.ts';
import { completeFlow, newPerson, redeem } from '../../conformance/harness.ts';
import { twoStepPerson } from '../../support/two-step-person.ts';
import { signAs } from './client-keys.ts';
import { type Exerciser, expectJson, type Members, type World } from './world.ts';

export const responses: Members = {
  issuer: async (world, issuer) => {
    expect((await world.signIn()).claims.iss).toBe(issuer);
  },
  response_types_supported: {
    code: async (world) => expect((await world.signIn({ response_type: 'code' })).code).toBeTruthy(),
  },
  response_modes_supported: {
    query: plainMode('query'),
    fragment: plainMode('fragment'),
    form_post: plainMode('form_post'),
    jwt: signedMode('jwt', 'query'),
    'query.jwt': signedMode('query.jwt', 'query'),
    'fragment.jwt': signedMode('fragment.jwt', 'fragment'),
    'form_post.jwt': signedMode('form_post.jwt', 'form_post'),
  },
  authorization_response_iss_parameter_supported: async (world, supported) => {
    expect(supported).toBe(true);
    const refused = world.request({ scope: 'openid', prompt: 'dance' });
    expect((await world.authorize(refused.parameters)).response).toMatchObject({ iss: world.issuer });
    expect((await world.authorize(world.request().parameters)).response).toMatchObject({ iss: world.issuer });
  },
  code_challenge_methods_supported: {
    async S256(world) {
      const request = world.request({ code_challenge_method: 'S256' });
      const code = expectCode(world, request, await world.authorize(request.parameters));
      const wrong = { code_verifier: 'x'.repeat(43) };
      expect((await redeem(world, request, code, wrong)).json).toMatchObject({ error: 'invalid_grant' });
    },
  },
  subject_types_supported: {
    async public(world) {
      expect((await world.signIn()).claims.sub).toBe(world.account.sub);
    },
    async pairwise(world) {
      const client = await world.register({ subject_type: 'pairwise' });
      const [first, second] = [await world.signIn({}, client), await world.signIn({}, client)];
      expect(first.claims.sub).not.toBe(world.account.sub);
      expect(second.claims.sub).toBe(first.claims.sub);
      expect((await world.userinfo(first.tokens.access_token)).json.sub).toBe(first.claims.sub);
    },
  },
  scopes_supported: {
    openid: async (world) => expect((await world.signIn({ scope: 'openid' })).claims.sub).toBeTruthy(),
    profile: scopeGivesClaims('profile'),
    email: scopeGivesClaims('email'),
    address: scopeGivesClaims('address'),
    phone: scopeGivesClaims('phone'),
    async offline_access(world) {
      const { tokens } = await world.signIn({ scope: 'openid offline_access', prompt: 'consent' });
      expect(tokens.refresh_token).toBeTruthy();
    },
  },
  claims_supported: {
    ...Object.fromEntries(Object.values(scopeClaims).flatMap((names) => names.map((name) => [name, inUserinfo(name)]))),
    sub: inIdToken('sub'),
    iss: inIdToken('iss'),
    acr: inIdToken('acr'),
    amr: inIdToken('amr'),
    auth_time: inIdToken('auth_time'),
    sid: inIdToken('sid'),
  },
  claim_types_supported: {
    async normal(world) {
      const { userinfo } = await world.signInWithEverything();
      for (const other of ['_claim_names', '_claim_sources']) expect(userinfo).not.toHaveProperty(other);
    },
  },
  claims_parameter_supported: async (world, supported) => {
    expect(supported).toBe(true);
    const claims = JSON.stringify({ userinfo: { nickname: null }, id_token: { email: { essential: true } } });
    const { tokens, claims: idToken } = await world.signIn({ scope: 'openid', claims });
    expect(idToken.email).toBe(world.account.email);
    expect(expectJson(await world.userinfo(tokens.access_token))).toEqual({ sub: idToken.sub, nickname: 'adinha' });
  },
  acr_values_supported: {
    async 'urn:latchkey:acr:pwd'(world) {
      expect((await world.signIn({ acr_values: 'urn:latchkey:acr:pwd' })).claims.acr).toBe('urn:latchkey:acr:pwd');
    },
    async 'urn:latchkey:acr:mfa'(world) {
      const { person } = await twoStepPerson(world.app);
      const request = world.request({ acr_values: 'urn:latchkey:acr:mfa' });
      expect((await completeFlow(world, request, { person })).claims.acr).toBe('urn:latchkey:acr:mfa');
    },
  },
  request_parameter_supported: async (world, supported) => {
    const request = world.request({}, await world.clientWithKeys('ES256'));
    const { client_id = '', ...rest } = request.parameters;
    const claims = { ...rest, client_id, iss: client_id, aud: world.issuer };
    if (supported === true) {
      const signed = { client_id, request: await signAs(world.keyFor('ES256'), 'ES256', claims) };
      const code = expectCode(world, request, await world.authorize(signed));
      expectTokens(await redeem(world, request, code));
    }
    const unsigned = { ...request.parameters, request: new UnsecuredJWT(claims).encode() };
    const code = supported === true ? 'invalid_request_object' : 'request_not_supported';
    expectError(world, request, await world.authorize(unsigned), [code]);
  },
  request_uri_parameter_supported: async (world, supported) => {
    expect(supported).toBe(false);
    const request = world.request({ request_uri: 'https://suite.example/request.jwt' });
    expectError(world, request, await world.authorize(request.parameters), ['request_uri_not_supported']);
  },
  prompt_values_supported: {
    async none(world) {
      const request = world.request({ prompt: 'none' });
      const stranger = newPerson(world);
      const page = await stranger.open(
        `${world.metadata.authorization_endpoint}?${new URLSearchParams(request.parameters)}`,
      );
      expect(page.left?.searchParams.get('error')).toBe('login_required');
      expect((await world.signIn({ prompt: 'none' })).asked).toEqual([]);
    },
    login: async (world) => expect((await world.signIn({ prompt: 'login' })).asked).toEqual(['login']),
    consent: async (world) => expect((await world.signIn({ prompt: 'consent' })).asked).toEqual(['consent']),
  },
};

/** The response as it is, where the mode puts it. */
function plainMode(response_mode: 'query' | 'fragment' | 'form_post'): Exerciser {
  return async (world) => {
    const request = world.request({ response_mode });
    const answer = await world.authorize(request.parameters);
    expect(answer.mode).toBe(response_mode);
    expectTokens(await redeem(world, request, expectCode(world, request, answer)));
  };
}

/** JARM §2.3: the response is one signed parameter. */
function signedMode(response_mode: string, where: 'query' | 'fragment' | 'form_post'): Exerciser {
  return async (world) => {
    const client = await world.clientSignedFor('ES256');
    const request = world.request({ response_mode }, client);
    const { mode, response } = await world.authorize(request.parameters);
    expect([mode, Object.keys(response ?? {})]).toEqual([where, ['response']]);
    const claims = await world.verify(response?.response ?? '', 'ES256', client);
    expect(claims.state).toBe(request.parameters.state);
    expectTokens(await redeem(world, request, String(claims.code)));
  };
}

function scopeGivesClaims(scope: string): Exerciser {
  return async (world) => {
    const { tokens } = await world.signIn({ scope: `openid ${scope}` });
    const claims = expectJson(await world.userinfo(tokens.access_token));
    expect(Object.keys(claims).sort()).toEqual(['sub', ...(scopeClaims[scope] ?? [])].sort());
  };
}

function inUserinfo(name: string): Exerciser {
  return async (world: World) => expect((await world.signInWithEverything()).userinfo).toHaveProperty(name);
}

function inIdToken(name: string): Exerciser {
  return async (world: World) => expect((await world.signInWithEverything()).idToken).toHaveProperty(name);
}
