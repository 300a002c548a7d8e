import type { ClientTile, Pages } from '../http/views.ts';
import type { LostInteraction } from '../oidc/interactions.ts';

/** The page for a step that cannot go on: what happened, and the nearest way on. */
export function interruptedPage(
  { reason, restartPath, byDevice }: LostInteraction,
  client: ClientTile | undefined,
  signedIn: boolean,
  mark: { reference: string; at: Date },
): Pages['interrupted'] {
  const name = client?.name;
  const restart = restartPath
    ? { url: restartPath, label: byDevice ? 'Enter the code again' : name ? `Start again with ${name}` : 'Start again' }
    : client?.uri
      ? { url: client.uri, label: `Start again at ${client.name}` }
      : undefined;
  return {
    reason,
    ...(client && { client }),
    ...(restart && { restart }),
    byDevice,
    otherUrl: signedIn ? '/account' : '/',
    otherLabel: signedIn ? 'Go to your account' : 'Go to the start page',
    ...mark,
  };
}
