/**
 * Discovery is true: every member of the metadata, and every value of a list, is exercised here, and one that nobody
 * exercises fails. Each exerciser goes through the real server, with the relying party of test/conformance.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readMetadata } from '../conformance/harness.ts';
import { startAppForTest } from '../support/app.ts';
import { apis } from './discovery/apis.ts';
import { certificates, mutualTls } from './discovery/certificates.ts';
import { endpoints } from './discovery/endpoints.ts';
import { grants } from './discovery/grants.ts';
import { notices } from './discovery/notices.ts';
import { responses } from './discovery/responses.ts';
import { signatures } from './discovery/signatures.ts';
import { expectUnaskable, expectUnregistrable, unaskable, unregistrable } from './discovery/unnamed.ts';
import { createWorld, type Members, type World } from './discovery/world.ts';

const members: Members = {
  ...endpoints,
  ...grants,
  ...responses,
  ...signatures,
  ...notices,
  ...certificates,
  ...apis,
};

let world: World;
let tls: Awaited<ReturnType<typeof mutualTls>>;

beforeAll(async () => {
  tls = await mutualTls();
  // Everything that is off unless configured, and a way to this machine, where the clients of these tests are.
  world = await createWorld({ ...tls.env, CLIENT_ID_METADATA_DOCUMENTS: 'on', OUTBOUND_ALLOW: '127.0.0.1' });
});
afterAll(async () => {
  await world.app.close();
  await tls.remove();
});

describe('what is named works', () => {
  for (const [name, member] of Object.entries(members)) {
    if (typeof member === 'function') {
      test(name, async () => {
        expect(world.metadata).toHaveProperty(name);
        await member(world, world.metadata[name] as never);
      });
    } else {
      test.each(Object.entries(member))(`${name}: %s`, async (value, exercise) => {
        expect(world.metadata[name]).toContain(value);
        await exercise(world, value as never);
      });
    }
  }
});

describe('nothing else is named', () => {
  test('than what is exercised here', () => {
    const isExercised = (name: string, value: unknown): boolean => {
      const member = members[name];
      if (typeof member !== 'object') return member !== undefined;
      return Array.isArray(value) && value.every((each) => Object.hasOwn(member, each));
    };
    expect(Object.entries(world.metadata).filter(([name, value]) => !isExercised(name, value))).toEqual([]);
  });

  test('of what is not set up: mutual TLS, metadata documents, registration, types of authorization details', async () => {
    const plain = await readMetadata(await startAppForTest({ env: { CLIENT_REGISTRATION: 'closed' } }));
    const missing = Object.keys(world.metadata).filter((name) => !(name in plain));
    expect(missing.sort()).toEqual([
      'authorization_details_types_supported',
      'client_id_metadata_document_supported',
      'mtls_endpoint_aliases',
      'registration_endpoint',
      'tls_client_certificate_bound_access_tokens',
    ]);
    const methods = plain.token_endpoint_auth_methods_supported;
    expect(methods).toEqual(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt']);
  });
});

describe('what is not named is refused', () => {
  test.each(unregistrable)('%s without %s, at registration', async (member, value, metadata) => {
    expect(world.metadata[member]).not.toContain(value);
    await expectUnregistrable(world, metadata);
  });

  test.each(unaskable)('%s without %s, in a request', async (member, value, parameter, error) => {
    expect(world.metadata[member]).not.toContain(value);
    await expectUnaskable(world, parameter, value, error);
  });
});
