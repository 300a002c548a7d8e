import { compareSync, hashSync } from 'bcrypt';
import { describe, expect, test } from 'vitest';
import { createSecretVerifier, issueClientSecret } from '../../src/clients/client-secret.ts';
import type { Bcrypt } from '../../src/lib/bcrypt-pool.ts';

/** bcrypt at its cheapest, counting what it is asked. */
function countingBcrypt(): Bcrypt & { compared: number } {
  return {
    rounds: 4,
    compared: 0,
    hash: async (text) => hashSync(text, 4),
    async compare(text, hash) {
      this.compared += 1;
      return compareSync(text, hash);
    },
    derive: () => Promise.reject(new Error('client secrets are bcrypt')),
  };
}

async function setUp() {
  const bcrypt = countingBcrypt();
  const { secret, secretHash } = await issueClientSecret(bcrypt);
  return { bcrypt, secret, secretHash, ...createSecretVerifier({ bcrypt }) };
}

test('a secret has 256 bits, fits into bcrypt and is stored as its hash', async () => {
  const { secret, secretHash } = await setUp();
  expect(Buffer.from(secret, 'base64url')).toHaveLength(32);
  expect(Buffer.byteLength(secret)).toBeLessThan(72);
  expect(secretHash).toMatch(/^\$2b\$04\$/);
  expect(compareSync(secret, secretHash)).toBe(true);
});

describe('the right secret', () => {
  test('pays bcrypt once', async () => {
    const { verify, bcrypt, secret, secretHash } = await setUp();
    for (let i = 0; i < 5; i++) expect(await verify([secretHash], secret)).toBe(true);
    expect(bcrypt.compared).toBe(1);
  });

  test('pays once when it comes first from many at a time', async () => {
    const { verify, bcrypt, secret, secretHash } = await setUp();
    const answers = await Promise.all(Array.from({ length: 20 }, () => verify([secretHash], secret)));
    expect(answers).toEqual(Array(20).fill(true));
    expect(bcrypt.compared).toBe(1);
  });

  test('stops with its hash', async () => {
    const { verify, bcrypt, secret, secretHash } = await setUp();
    const next = await issueClientSecret(bcrypt);
    expect(await verify([secretHash], secret)).toBe(true);
    expect(await verify([next.secretHash], secret)).toBe(false);
    expect(await verify([], secret)).toBe(false);
  });

  test('may be that of either hash while the old one is good too', async () => {
    const { verify, bcrypt, secret, secretHash } = await setUp();
    const next = await issueClientSecret(bcrypt);
    const hashes = [next.secretHash, secretHash];
    expect(await verify(hashes, secret)).toBe(true);
    expect(await verify(hashes, next.secret)).toBe(true);
    expect(await verify(hashes, 'neither')).toBe(false);
  });

  test('is asked of bcrypt again when its check failed for want of room', async () => {
    const { bcrypt, secret, secretHash } = await setUp();
    let full = true;
    const { verify } = createSecretVerifier({
      bcrypt: {
        ...bcrypt,
        compare: async (text, hash) => (full ? Promise.reject(new Error('full')) : compareSync(text, hash)),
      },
    });
    await expect(verify([secretHash], secret)).rejects.toThrow('full');
    full = false;
    expect(await verify([secretHash], secret)).toBe(true);
  });
});

describe('a wrong secret', () => {
  test('pays bcrypt every time, before and after the right one was seen', async () => {
    const { verify, bcrypt, secret, secretHash } = await setUp();
    expect(await verify([secretHash], 'wrong')).toBe(false);
    expect(await verify([secretHash], 'wrong')).toBe(false);
    expect(await verify([secretHash], secret)).toBe(true);
    expect(await verify([secretHash], 'wrong')).toBe(false);
    expect(bcrypt.compared).toBe(4);
    expect(await verify([secretHash], secret)).toBe(true);
    expect(bcrypt.compared).toBe(4);
  });

  test('is also one that starts with the right one and goes on', async () => {
    const { bcrypt, verify } = await setUp();
    const long = 'a'.repeat(72);
    const hash = await bcrypt.hash(long);
    expect(await verify([hash], long)).toBe(true);
    expect(await verify([hash], `${long}b`)).toBe(false);
    const short = await bcrypt.hash('abc');
    expect(await verify([short], 'abc\0def')).toBe(false);
  });

  test('is also the stored hash itself', async () => {
    const { verify, secretHash } = await setUp();
    expect(await verify([secretHash], secretHash)).toBe(false);
  });
});

test('memory is bounded: the client seen longest ago pays again', async () => {
  const bcrypt: Bcrypt & { asked: string[] } = {
    rounds: 4,
    asked: [],
    hash: async (text) => text,
    async compare(text, hash) {
      this.asked.push(hash);
      return text === hash;
    },
    derive: () => Promise.reject(new Error('client secrets are bcrypt')),
  };
  const { verify } = createSecretVerifier({ bcrypt });
  for (let i = 0; i < 5_000; i++) await verify([`hash ${i}`], `hash ${i}`);
  // Seen again, so it is not the oldest any more.
  await verify(['hash 0'], 'hash 0');
  await verify(['one more'], 'one more');
  bcrypt.asked = [];
  await verify(['hash 0'], 'hash 0');
  await verify(['hash 1'], 'hash 1');
  await verify(['one more'], 'one more');
  expect(bcrypt.asked).toEqual(['hash 1']);
});
