import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { gzipSync } from 'node:zlib';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { Provider } from 'oidc-provider';
import { afterEach, describe, expect, test } from 'vitest';
import { createOutbound, type Outbound, OutboundError, readBounded } from '../../src/http/outbound.ts';

/** Containers often have no IPv6 at all. */
const ipv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));

const open: { close(): Promise<unknown> | unknown }[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((item) => item.close()));
});

function outbound(options: Partial<Parameters<typeof createOutbound>[0]> = {}): Outbound {
  const made = createOutbound({ allow: [], ...options });
  open.push(made);
  return made;
}

async function serve(
  listener: RequestListener = (_req, res) => res.end('hello'),
  host = '127.0.0.1',
): Promise<{ port: number; connections: () => number; server: Server }> {
  const server = createServer(listener);
  let count = 0;
  server.on('connection', () => {
    count += 1;
  });
  server.listen(0, host);
  await once(server, 'listening');
  open.push({ close: () => server.closeAllConnections() ?? new Promise((done) => server.close(done)) });
  return { port: (server.address() as AddressInfo).port, connections: () => count, server };
}

describe('what is not public is not reached', () => {
  test.each([
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['2130706433', 'loopback'],
    ['0x7f000001', 'loopback'],
    ['0177.0.0.1', 'loopback'],
    ['127.1', 'loopback'],
    ['%31%32%37.0.0.1', 'loopback'],
    ['１２７.0.0.1', 'loopback'],
    ['0.0.0.0', 'unspecified'],
    ['0', 'unspecified'],
    ['10.0.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['192.168.0.1', 'private'],
    ['169.254.169.254', 'linkLocal'],
    ['100.64.0.1', 'carrierGradeNat'],
    ['192.0.2.1', 'reserved'],
    ['198.18.0.1', 'reserved'],
    ['240.0.0.1', 'reserved'],
    ['224.0.0.1', 'multicast'],
    ['255.255.255.255', 'broadcast'],
    ['[::1]', 'loopback'],
    ['[::]', 'unspecified'],
    ['[::127.0.0.1]', 'reserved'],
    ['[::ffff:127.0.0.1]', 'loopback'],
    ['[::ffff:a9fe:a9fe]', 'linkLocal'],
    ['[::ffff:0:127.0.0.1]', 'rfc6145'],
    ['[64:ff9b::7f00:1]', 'rfc6052'],
    ['[64:ff9b:1::7f00:1]', 'rfc6052'],
    ['[2002:7f00:1::]', '6to4'],
    ['[2001:0:7f00:1::]', 'teredo'],
    ['[fe80::1]', 'linkLocal'],
    ['[fec0::1]', 'deprecatedSiteLocal'],
    ['[fd00::1]', 'uniqueLocal'],
    ['[ff02::1]', 'multicast'],
    ['[2001:db8::1]', 'reserved'],
    ['[4000::1]', 'reserved'],
  ])('the address %s (%s)', async (host, kind) => {
    const { port, connections } = await serve(undefined, '0.0.0.0');
    const refused = outbound().fetch(`http://${host}:${port}/`);
    await expect(refused).rejects.toThrow(OutboundError);
    await expect(refused).rejects.toThrow(`(${kind}); the operator can permit it with OUTBOUND_ALLOW`);
    expect(connections()).toBe(0);
  });

  test.each(['localhost', 'LOCALHOST'])('the name %s', async (host) => {
    const { port, connections } = await serve(undefined, 'localhost');
    await expect(outbound().fetch(`http://${host}:${port}/`)).rejects.toThrow('OUTBOUND_ALLOW');
    expect(connections()).toBe(0);
  });

  test('a name of which one address is private', async () => {
    const { fetch } = outbound({
      lookup: (_host, _options, callback) =>
        callback(null, [
          { address: '93.184.215.14', family: 4 },
          { address: '10.0.0.1', family: 4 },
        ]),
    });
    await expect(fetch('https://mixed.example/')).rejects.toThrow('mixed.example is not a public address (private)');
  });

  test('over https as over http', async () => {
    await expect(outbound().fetch('https://127.0.0.1/')).rejects.toThrow('OUTBOUND_ALLOW');
    await expect(outbound().fetch('https://localhost/')).rejects.toThrow('OUTBOUND_ALLOW');
  });

  test('a name that changes its answer after it was judged', async () => {
    const allowed = await serve((_req, res) => res.setHeader('Connection', 'close').end('first'));
    const hidden = await serve(undefined, '127.0.0.2');
    const answers = ['127.0.0.1', '127.0.0.2'];
    const { fetch } = outbound({
      allow: ['127.0.0.1'],
      lookup: (_host, _options, callback) => callback(null, [{ address: answers.shift() ?? '', family: 4 }]),
    });
    const first = await fetch(`http://rebinding.example:${allowed.port}/`);
    expect(await first.text()).toBe('first');
    await expect(fetch(`http://rebinding.example:${hidden.port}/`)).rejects.toThrow('OUTBOUND_ALLOW');
    expect(answers).toEqual([]);
    expect(hidden.connections()).toBe(0);
  });

  test.each([301, 302, 303, 307, 308])('a private address that a %s redirects to', async (status) => {
    const hidden = await serve(undefined, '127.0.0.2');
    const allowed = await serve((_req, res) =>
      res.writeHead(status, { Location: `http://127.0.0.2:${hidden.port}/` }).end(),
    );
    const { fetch } = outbound({ allow: ['127.0.0.1'] });
    await expect(fetch(`http://127.0.0.1:${allowed.port}/`)).rejects.toThrow('127.0.0.2 is not a public address');
    expect(allowed.connections()).toBe(1);
    expect(hidden.connections()).toBe(0);
  });

  test.each(['file:///etc/passwd', 'data:text/plain,hello', 'ftp://127.0.0.1/', 'blob:null/1', '//127.0.0.1/', ''])(
    'what is no web address: %s',
    async (address) => {
      await expect(outbound().fetch(address)).rejects.toThrow('is not a web address');
    },
  );

  test('a dispatcher among the options does not replace the guard', async () => {
    const { port, connections } = await serve();
    const { Agent } = await import('undici');
    const own = new Agent();
    open.push(own);
    const options = { dispatcher: own } as unknown as RequestInit;
    await expect(outbound().fetch(`http://127.0.0.1:${port}/`, options)).rejects.toThrow('OUTBOUND_ALLOW');
    expect(connections()).toBe(0);
  });
});

describe('OUTBOUND_ALLOW lets through', () => {
  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['127.0.0.0/8', '127.0.0.1'],
    ['127.0.0.1', '2130706433'],
    ['127.0.0.0/8', '[::ffff:127.0.0.1]'],
    ['relying.party', 'Relying.Party'],
  ])('%s: http://%s', async (entry, host) => {
    const { port } = await serve();
    const { fetch } = outbound({
      allow: [entry],
      lookup: (_host, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]),
    });
    const response = await fetch(`http://${host}:${port}/`);
    expect(await response.text()).toBe('hello');
  });

  test.runIf(ipv6).each(['::1', '::1/128', '::/64'])('%s: http://[::1]', async (entry) => {
    const { port } = await serve(undefined, '::1');
    const response = await outbound({ allow: [entry] }).fetch(`http://[::1]:${port}/`);
    expect(await response.text()).toBe('hello');
  });

  test('a name, by whatever addresses the system gives it', async () => {
    const { port } = await serve(undefined, 'localhost');
    const response = await outbound({ allow: ['localhost'] }).fetch(`http://localhost:${port}/`);
    expect(await response.text()).toBe('hello');
  });

  test.each([
    ['127.0.0.0/30', '127.0.0.4'],
    ['localhost', '127.0.0.1'],
    ['party', 'relying.party'],
    ['::1', '127.0.0.1'],
  ])('%s and not http://%s', async (entry, host) => {
    const { port, connections } = await serve(undefined, '0.0.0.0');
    const { fetch } = outbound({
      allow: [entry],
      lookup: (_host, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]),
    });
    await expect(fetch(`http://${host}:${port}/`)).rejects.toThrow('OUTBOUND_ALLOW');
    expect(connections()).toBe(0);
  });
});

describe('a partner that is slow or talks without end', () => {
  const allow = ['127.0.0.1'];

  test('is given up when it does not answer in time', async () => {
    const { port } = await serve(() => {});
    const answer = outbound({ allow, timeoutMs: 100 }).fetch(`http://127.0.0.1:${port}/`);
    await expect(answer).rejects.toMatchObject({ name: 'TimeoutError' });
  });

  test('is given up when its body comes drop by drop', async () => {
    const { port } = await serve((_req, res) => {
      const drops = setInterval(() => res.write('.'), 20);
      res.on('close', () => clearInterval(drops));
    });
    const response = await outbound({ allow, timeoutMs: 200 }).fetch(`http://127.0.0.1:${port}/`);
    await expect(readBounded(response, 1_000_000)).rejects.toMatchObject({ name: 'TimeoutError' });
  });

  test('is cut off at the bytes asked for, and the connection ends', async () => {
    const { port, server } = await serve(endless);
    const closed = new Promise((resolve) => server.on('connection', (socket) => socket.on('close', resolve)));
    const response = await outbound({ allow }).fetch(`http://127.0.0.1:${port}/`);
    await expect(readBounded(response, 100_000)).rejects.toThrow('larger than 100000 bytes');
    await closed;
  });

  test('is cut off even when the caller sets no bound', async () => {
    const { port } = await serve(endless);
    const response = await outbound({ allow }).fetch(`http://127.0.0.1:${port}/`);
    await expect(response.arrayBuffer()).rejects.toThrow();
  });

  test('is measured after decompression', async () => {
    const { port } = await serve((_req, res) =>
      res.setHeader('Content-Encoding', 'gzip').end(gzipSync(Buffer.alloc(5_000_000))),
    );
    const response = await outbound({ allow }).fetch(`http://127.0.0.1:${port}/`);
    await expect(readBounded(response, 1_000_000)).rejects.toThrow(OutboundError);
  });

  test('is given up when the caller gives up', async () => {
    const { port } = await serve(() => {});
    const given = AbortSignal.abort(new Error('changed my mind'));
    const answer = outbound({ allow }).fetch(`http://127.0.0.1:${port}/`, { signal: given });
    await expect(answer).rejects.toThrow('changed my mind');
  });

  test('is read to the end when it keeps within the bound', async () => {
    const { port } = await serve((_req, res) => res.end('x'.repeat(1000)));
    const response = await outbound({ allow }).fetch(`http://127.0.0.1:${port}/`);
    expect((await readBounded(response, 1000)).toString()).toBe('x'.repeat(1000));
  });

  const endless: RequestListener = (_req, res) => {
    const more = () => {
      while (!res.destroyed && res.write('x'.repeat(65_536)));
    };
    res.on('drain', more);
    more();
  };
});

test('after closing nothing is fetched any more', async () => {
  const { port } = await serve();
  const closing = createOutbound({ allow: ['127.0.0.1'] });
  await closing.close();
  await expect(closing.fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
});

describe('handed to oidc-provider', () => {
  test('it fetches the keys of a client from a permitted address', async () => {
    const { token, jwks } = await requestWithKeyFrom(['127.0.0.1']);
    expect(token.status).toBe(200);
    expect(jwks.connections()).toBe(1);
  });

  test('it reaches nothing else, whatever dispatcher the library brings', async () => {
    const { token, jwks } = await requestWithKeyFrom([]);
    expect(token.status).toBe(401);
    expect(jwks.connections()).toBe(0);
  });

  async function requestWithKeyFrom(allow: string[]) {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const keys = [{ ...(await exportJWK(publicKey)), kid: 'k', use: 'sig', alg: 'ES256' }];
    const jwks = await serve((_req, res) => res.end(JSON.stringify({ keys })));
    const issuer = 'http://op.example';
    const signingKey = await exportJWK((await generateKeyPair('RS256', { extractable: true })).privateKey);
    const provider = new Provider(issuer, {
      jwks: { keys: [signingKey] },
      cookies: { keys: ['unused'] },
      features: { devInteractions: { enabled: false }, clientCredentials: { enabled: true } },
      ttl: { ClientCredentials: 60 },
      fetch: outbound({ allow }).fetch,
      fetchResponseBodyLimits: { jwks_uri: 65_536 },
      clients: [
        {
          client_id: 'c',
          jwks_uri: `http://127.0.0.1:${jwks.port}/`,
          token_endpoint_auth_method: 'private_key_jwt',
          grant_types: ['client_credentials'],
          response_types: [],
          redirect_uris: [],
        },
      ],
    });
    const assertion = await new SignJWT({ jti: 'once' })
      .setProtectedHeader({ alg: 'ES256', kid: 'k' })
      .setIssuer('c')
      .setSubject('c')
      .setAudience(issuer)
      .setIssuedAt()
      .setExpirationTime('1m')
      .sign(privateKey);
    const { port } = await serve(provider.callback());
    const token = await fetch(`http://127.0.0.1:${port}/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: 'c',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: assertion,
      }),
    });
    return { token, jwks };
  }
});
