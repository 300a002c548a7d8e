import type { Field, Problem } from './views.ts';

/** The passkey pages, by the names of their files in views/. */
export type PasskeyPages = {
  passkeys: {
    /** False where no browser would make one: at an IP address, and on plain http. */
    available: boolean;
    passkeys: readonly {
      name: string;
      url: string;
      synced: boolean;
      createdAt: Date;
      lastUsedAt?: Date | undefined;
    }[];
    problem?: Problem | undefined;
    notice?: string | undefined;
  };
  passkey: {
    action: string;
    removeUrl: string;
    heading: string;
    name: Field;
    problem?: Problem | undefined;
  };
};
