import { errors, type Provider } from 'oidc-provider';

/** What the storage answers to the slower of two uses at once. */
export class PresentedBefore extends errors.InvalidRequest {
  constructor() {
    super('this was presented before');
  }
}

type Unique = (iss: string, jti: string, exp: number) => Promise<boolean>;

/**
 * The library looks for an earlier use and stores this one then; only our storage knows of two at once. Here that use is
 * answered like one that came later: with the error that belongs to what was presented (SECURITY 42, 43).
 */
export function tellReplaysAlike(provider: Provider): void {
  const model = provider.ReplayDetection as unknown as { unique: Unique };
  const { unique } = model;
  model.unique = async (...use) => {
    try {
      return await unique.apply(model, use);
    } catch (error) {
      if (error instanceof PresentedBefore) return false;
      throw error;
    }
  };
}
