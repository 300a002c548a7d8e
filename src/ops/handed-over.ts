import type { Worker } from 'node:cluster';

/**
 * node:cluster forgets the connection that it was handing to a worker when that one dies or hangs before it takes it:
 * nobody ever closes it, and its client waits for ever. Call the answer when the worker is gone.
 *
 * Every connection passes through the `send` of the worker's process, one at a time for each server that listens. One
 * that was taken is closed on this side already, and closing it once more does nothing.
 */
export function watchHandedOver({ process: worker }: Worker): () => void {
  const last = new Map<unknown, Handle>();
  const send = worker.send.bind(worker) as (...all: unknown[]) => boolean;
  worker.send = (message: unknown, handle?: unknown, ...rest: unknown[]) => {
    if (isHandle(handle)) last.set((message as { key?: unknown }).key, handle);
    return send(message, handle, ...rest);
  };
  return () => {
    for (const handle of last.values()) handle.close();
  };
}

type Handle = { close(): void };

function isHandle(value: unknown): value is Handle {
  return typeof (value as Partial<Handle> | undefined)?.close === 'function';
}
