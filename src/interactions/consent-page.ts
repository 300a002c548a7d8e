import type { Api } from '../apis/apis.ts';
import type { ClientTile, Pages } from '../http/views.ts';
import type { ApiScopes } from '../oidc/consents.ts';
import type { Granted, PendingInteraction } from '../oidc/interactions.ts';

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
      ...asked.apis.flatMap(({ identifier, name, scopes }) =>
        Object.entries(scopes).map(([scope, title]) => ({
          value: boxOf(identifier, scope),
          title,
          detail: name,
          checked: ticked(scope, remembered?.refusedApiScopes[identifier]),
          required: false,
        })),
      ),
    ],
    details: asked.details.map(({ title, detail }, index) => ({
      value: String(index),
      title,
      detail: detailFacts(detail),
      checked: true,
    })),
    claims: asked.claims.map((claim) => ({
      value: claim,
      title: `See your ${claim.replaceAll('_', ' ')}`,
      detail: text(person.claims[claim]) || address(person.claims[claim]) || 'You haven’t added one',
      checked: ticked(claim, remembered?.refusedClaims),
    })),
  };
}

/** Two APIs may call something by the same name; neither part has a space in it. */
function boxOf(api: string, scope: string): string {
  return `${scope} ${api}`;
}

/** What the boxes that a person left ticked allow. */
export function allowedBy(
  { asked }: Pick<PendingInteraction, 'asked'>,
  ticked: { scope: readonly string[]; claim: readonly string[]; detail: readonly string[] },
): Granted {
  const apiScopes = asked.apis.map(({ identifier, scopes }) => [
    identifier,
    Object.keys(scopes).filter((scope) => ticked.scope.includes(boxOf(identifier, scope))),
  ]);
  return {
    scopes: ticked.scope,
    claims: ticked.claim,
    apiScopes: Object.fromEntries(apiScopes),
    details: ticked.detail.map(Number),
  };
}

/** `amount: 120.00 EUR, creditor: Fernwood`: every member that the app sent, so that nothing is allowed unseen. */
function detailFacts({ type, locations, ...members }: Record<string, unknown>): string {
  return Object.entries(members)
    .map(([name, value]) => `${name.replaceAll('_', ' ')}: ${plainly(value)}`)
    .join(', ');
}

function plainly(value: unknown): string {
  if (Array.isArray(value)) return value.map(plainly).join(' ');
  if (typeof value !== 'object' || value === null) return String(value);
  return Object.entries(value)
    .map(([name, inner]) => `${name} ${plainly(inner)}`)
    .join(' ');
}

function text(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}

function address(value: unknown): string {
  const formatted = (value as { formatted?: unknown } | undefined)?.formatted;
  return text(formatted).replaceAll('\n', ', ');
}

/** What a person allowed, as the account pages list it. What an API has no more is left out. */
export function scopeTitles(
  scopes: readonly string[],
  apiScopes: ApiScopes,
  apis: readonly Pick<Api, 'identifier' | 'name' | 'scopes'>[],
): string[] {
  return [
    ...scopes.filter((scope) => scope !== 'openid').map((scope) => words[scope]?.title ?? scope),
    ...apis.flatMap((api) =>
      (apiScopes[api.identifier] ?? []).flatMap((scope) => {
        const title = api.scopes[scope];
        return title === undefined ? [] : [`${title} (${api.name})`];
      }),
    ),
  ];
}
