import type { ServerResponse } from 'node:http';
import type { Provider } from 'oidc-provider';

/** What happened at a protocol endpoint, for the log line of its request; `error` only when the fault is ours. */
export type NoteEvent = (res: ServerResponse, outcome: string, error?: Error) => void;

type Ctx = { res: ServerResponse };
type Failure = Error & { error?: string; error_detail?: string };

/** Turns the library's events into one or two words about each request. No value of a request is ever among them. */
export function listenToEvents(provider: Provider, note: NoteEvent): void {
  const events = provider as { on(event: string, listener: (...args: never[]) => void): unknown };
  const succeeded = (event: string, outcome: string) => events.on(event, (ctx: Ctx) => note(ctx.res, outcome));
  const failed = (event: string) =>
    events.on(event, (ctx: Ctx, error: Failure) => {
      note(ctx.res, `${event} ${error.error ?? error.name}${error.error_detail ? `: ${error.error_detail}` : ''}`);
    });

  succeeded('authorization.success', 'authorization.success');
  succeeded('interaction.started', 'interaction.started');
  succeeded('grant.success', 'grant.success');
  succeeded('device_authorization.success', 'device_authorization.success');
  succeeded('end_session.success', 'end_session.success');
  for (const name of failures) failed(name);
  events.on('server_error', (ctx: Ctx, error: Failure) => note(ctx.res, 'server_error', error));
  // What the library failed to handle; without a listener it goes to the console.
  events.on('error', (error: Failure, ctx: Ctx) => note(ctx.res, 'server_error', error));
}

const failures = [
  'authorization.error',
  'grant.error',
  'userinfo.error',
  'introspection.error',
  'revocation.error',
  'pushed_authorization_request.error',
  'device_authorization.error',
  'code_verification.error',
  'device_resume.error',
  'end_session.error',
  'end_session_confirm.error',
] as const;
