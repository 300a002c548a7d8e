import { errors, type Provider } from 'oidc-provider';
import { sha256 } from '../lib/hash.ts';

/** What the storage answers to the slower of two uses at once. */
export class PresentedBefore extends errors.InvalidRequest {
  constructor() {
    super('this was presented before');
  }
}

type Unique = (iss: string, jti: string, exp: number) => Promise<boolean>;

/**
 * The library looks for an earlier use and stores this one then; only our storage knows of two at once, and it needs no
 * look before. A use that is not the first is answered with the error that belongs to what was presented (SECURITY 42, 43).
 */
export function tellReplaysAlike({ ReplayDetection }: Provider): void {
  const model = ReplayDetection as unknown as {
    unique: Unique;
    new (use: { jti: string; iss: string }): { save(seconds: number): Promise<unknown> };
  };
  model.unique = async (iss, jti, exp) => {
    const use = new model({ jti: sha256(`${iss}${jti}`), iss });
    try {
      await use.save(exp - Math.floor(Date.now() / 1000));
      return true;
    } catch (error) {
      if (error instanceof PresentedBefore) return false;
      throw error;
    }
  };
}
