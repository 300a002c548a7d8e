import { z } from 'zod';
import { type Exchange, exchange, resultOf } from './exchange.ts';

/** OpenID Connect Discovery §3, as far as the playground uses it. */
const Metadata = z.object({
  issuer: z.string(),
  authorization_endpoint: z.url(),
  token_endpoint: z.url(),
  userinfo_endpoint: z.url(),
  jwks_uri: z.url(),
  introspection_endpoint: z.url(),
  revocation_endpoint: z.url(),
  end_session_endpoint: z.url(),
});

export type Endpoints = z.infer<typeof Metadata>;

/** Asks the issuer for its endpoints. None when it cannot be reached or names another issuer (Discovery §4.3). */
export async function discover(issuer: string): Promise<{ exchange: Exchange; endpoints: Endpoints | undefined }> {
  const done = await exchange({ method: 'GET', url: `${issuer}/.well-known/openid-configuration` });
  const { data } = Metadata.safeParse(resultOf(done));
  return { exchange: done, endpoints: data?.issuer === issuer ? data : undefined };
}
