import type { ClientTile, Pages } from '../http/views.ts';
import type { PendingInteraction } from '../oidc/interactions.ts';

type Person = { email: string; claims: Readonly<Record<string, unknown>> };

type Row = { title: string; detail: (claims: Person['claims']) => string };

/** The scopes in plain words. */
const words: Record<string, Row> = {
  profile: {
    title: 'See your name and profile',
    detail: (claims) => text(claims.name) || 'Your name and what you added',
  },
  email: { title: 'See your email address', detail: (claims) => text(claims.email) },
  address: { title: 'See your postal address', detail: (claims) => address(claims.address) || 'You haven’t added one' },
  phone: { title: 'See your phone number', detail: (claims) => text(claims.phone_number) || 'You haven’t added one' },
  offline_access: {
    title: 'Stay connected while you’re away',
    detail: () => 'Until you disconnect it. Optional.',
  },
};

/** Long-lived access is never ticked for somebody, not even again; all else that is asked for is, unless it was refused. */
const untickedScopes = new Set(['offline_access']);

/** The consent page: every scope but the sign-in itself can be left out, and so can each single claim. */
export function consentPage(
  { asked, remembered }: Pick<PendingInteraction, 'asked' | 'remembered'>,
  client: ClientTile,
  person: Person,
  place: { action: string; anotherAccountUrl: string },
): Pages['consent'] {
  const ticked = (name: string, refused: string[] = []) => !refused.includes(name) && !untickedScopes.has(name);
  return {
    ...place,
    client,
    account: { email: person.email },
    hidden: {},
    scopes: [
      {
        value: 'openid',
        title: 'Know it’s you',
        detail: 'Always shared when you sign in.',
        checked: true,
        required: true,
      },
      ...asked.scopes.map((scope) => ({
        value: scope,
        title: words[scope]?.title ?? scope,
        detail: words[scope]?.detail(person.claims) ?? '',
        checked: ticked(scope, remembered?.refusedScopes),
        required: false,
      })),
    ],
    claims: asked.claims.map((claim) => ({
      value: claim,
      title: `See your ${claim.replaceAll('_', ' ')}`,
      detail: text(person.claims[claim]) || address(person.claims[claim]) || 'You haven’t added one',
      checked: ticked(claim, remembered?.refusedClaims),
    })),
  };
}

function text(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}

function address(value: unknown): string {
  const formatted = (value as { formatted?: unknown } | undefined)?.formatted;
  return text(formatted).replaceAll('\n', ', ');
}

/** What a person allowed, as the account pages list it. */
export function scopeTitles(scopes: readonly string[]): string[] {
  return scopes.filter((scope) => scope !== 'openid').map((scope) => words[scope]?.title ?? scope);
}
