import type { Issue } from '../http/errors.ts';
import type { Problem } from '../http/views.ts';

/** The notice for fields that were not acceptable, and for each field the words beside it (the first problem counts). */
export function fieldProblems(issues: readonly Issue[]): {
  problem: Problem;
  wrong: (field: string) => { wrong?: string };
} {
  const byField = new Map<string, string>();
  for (const { path, message } of issues) if (!byField.has(path)) byField.set(path, message);
  return {
    problem: {
      title: byField.size === 1 ? 'One thing to fix.' : `${byField.size} things to fix.`,
      fields: [...byField].map(([id, text]) => ({ id, text })),
    },
    wrong: (field) => {
      const text = byField.get(field);
      return text === undefined ? {} : { wrong: text };
    },
  };
}

/** What a person typed into a field, to be shown again; nothing when the body holds something else in its place. */
export function typedText(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, 1024) : '';
}
