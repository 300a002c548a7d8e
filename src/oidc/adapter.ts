/**
 * Where the library keeps things. Each model goes to the table that suits it: sessions, interactions and clients have
 * their own, everything token-like shares `oidc_grants`. The rules that hold for all: the key includes the model name,
 * expired is absent, one use is one conditional statement, and a database that cannot answer is 503, not 500.
 */
import { type Adapter, type AdapterPayload, errors } from 'oidc-provider';
import type { Database } from '../db/database.ts';
import type { Encryption } from '../keys/encryption.ts';
import {
  consumeArtifact,
  deleteArtifact,
  deleteArtifactsOfGrant,
  findArtifact,
  findArtifactByUserCode,
  insertArtifact,
  type Payload,
  upsertArtifact,
  upsertGrant,
} from './artifacts.ts';
import { findInteraction, finishInteraction, upsertInteraction } from './interaction-store.ts';
import { markOutage } from './outage.ts';
import { endSession, findSession, findSessionByUid, retireSessionId, upsertSession } from './session-store.ts';

/** How the model `Client` is stored; supplied by the clients feature. */
export type ClientStorage = {
  find(clientId: string): Promise<Payload | undefined>;
  upsert(clientId: string, metadata: Payload): Promise<void>;
  destroy(clientId: string): Promise<void>;
};

export type AdapterDependencies = {
  db: Database;
  encryption: Encryption;
  clients: ClientStorage;
  /** Seconds in which a rotated refresh token may be presented again. */
  refreshTokenLeewaySeconds: number;
};

type Store = Partial<Adapter> & { rename?(oldId: string): Promise<void> };

export function createAdapter(dependencies: AdapterDependencies): (model: string) => Adapter {
  return (model) => {
    switch (model) {
      case 'Session':
        return guarded(sessionStore(dependencies));
      case 'Interaction':
        return guarded(interactionStore(dependencies));
      case 'Client':
        return guarded(clientStore(dependencies));
      default:
        return guarded(artifactStore(model, dependencies));
    }
  };
}

function artifactStore(model: string, { db, encryption, refreshTokenLeewaySeconds }: AdapterDependencies): Store {
  const leewaySeconds = model === 'RefreshToken' ? refreshTokenLeewaySeconds : 0;
  return {
    async upsert(id, payload, expiresIn) {
      const artifact = { model, id, payload: storable(payload), expiresIn };
      if (model === 'Grant') return upsertGrant(db, encryption, artifact);
      if (model !== 'ReplayDetection') return upsertArtifact(db, encryption, artifact);
      // The library looks first and stores then; of two at once only one may store (SECURITY 42, 43).
      if (!(await insertArtifact(db, encryption, artifact)))
        throw new errors.InvalidRequest('this was presented before');
    },
    find: (id) => findArtifact(db, model, id, { leewaySeconds }),
    findByUserCode: (userCode) => findArtifactByUserCode(db, encryption, model, userCode),
    async consume(id) {
      if (!(await consumeArtifact(db, model, id, { leewaySeconds }))) throw alreadyUsed(model);
    },
    destroy: (id) => deleteArtifact(db, model, id),
    revokeByGrantId: (grantId) => deleteArtifactsOfGrant(db, model, grantId),
  };
}

function alreadyUsed(model: string): Error {
  if (model === 'PushedAuthorizationRequest') {
    return new errors.InvalidRequestUri('request_uri is invalid, expired, or was already used');
  }
  return new errors.InvalidGrant(`${model} was already used`);
}

function sessionStore({ db }: AdapterDependencies): Store {
  return {
    upsert: (id, payload, expiresIn = 1) => upsertSession(db, id, storable(payload), expiresIn),
    find: (id) => findSession(db, id),
    findByUid: (uid) => findSessionByUid(db, uid),
    destroy: (id) => endSession(db, id),
    rename: (oldId) => retireSessionId(db, oldId),
  };
}

function interactionStore({ db, encryption }: AdapterDependencies): Store {
  return {
    upsert: (id, payload, expiresIn = 1) => upsertInteraction(db, encryption, id, storable(payload), expiresIn),
    find: (id) => findInteraction(db, encryption, id),
    destroy: (id) => finishInteraction(db, id),
  };
}

function clientStore({ clients }: AdapterDependencies): Store {
  return {
    upsert: (id, payload) => clients.upsert(id, storable(payload)),
    find: (id) => clients.find(id),
    destroy: (id) => clients.destroy(id),
  };
}

/** PostgreSQL's JSON holds neither NUL nor half a surrogate pair; such a request is malformed, not a fault of ours. */
function storable(payload: AdapterPayload): Payload {
  if (/\\u0000|\\ud[89a-f]/i.test(JSON.stringify(payload))) {
    throw new errors.InvalidRequest('the request holds characters that are not allowed');
  }
  return payload as Payload;
}

const unsearchable = (value: unknown) => typeof value === 'string' && value.includes('\0');

/** Nothing is found under an id with NUL in it, and an outage carries the status that the library answers with. */
function guarded(store: Store): Adapter {
  const call = <Args extends unknown[], Result>(operation: ((...args: Args) => Promise<Result>) | undefined) => {
    return async (...args: Args): Promise<Result | undefined> => {
      if (!operation || unsearchable(args[0])) return undefined;
      return markOutage(operation(...args));
    };
  };
  return {
    upsert: call(store.upsert),
    find: call(store.find),
    findByUid: call(store.findByUid),
    findByUserCode: call(store.findByUserCode),
    consume: call(store.consume),
    destroy: call(store.destroy),
    revokeByGrantId: call(store.revokeByGrantId),
    rename: call(store.rename),
  } as Adapter;
}
