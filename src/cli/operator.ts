import { userInfo } from 'node:os';
import type { AuditSource } from '../audit/events.ts';

/** What the audit log says of a command: who typed it, by the name at the operating system. */
export function operator(): AuditSource {
  return { operator: nameOf() };
}

/** In a container the number of the user may have no name. */
function nameOf(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}
