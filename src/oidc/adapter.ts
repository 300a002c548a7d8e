/**
 * Where the library keeps things. Each model goes to the table that suits it: sessions, interactions and clients have
 * their own, everything token-like shares `oidc_grants`. The rules that hold for all: the key includes the model name,
 * expired is absent, one use is one conditional statement, and a database that cannot answer is 503, not 500.
 */
import { type Adapter, type AdapterPayload, errors, Provider } from 'oidc-provider';
import type { AuditSource } from '../audit/events.ts';
import type { Database } from '../db/database.ts';
import type { Encryption } from '../keys/encryption.ts';
import { findArtifact, findGrant } from './artifact-lookup.ts';
import {
  consumeArtifact,
  deleteArtifact,
  deleteArtifactsOfGrant,
  deleteGrants,
  deleteTokenFamily,
  insertArtifact,
  insertArtifactOfSession,
  type Payload,
  rotateArtifact,
  upsertArtifact,
  upsertGrant,
} from './artifacts.ts';
import { createFindClient } from './client-id-metadata-documents.ts';
import { deviceCodeStore } from './device-codes.ts';
import { findInteraction, finishInteraction, upsertInteraction } from './interaction-store.ts';
import { markOutage } from './outage.ts';
import { leewayFor, startedRotation, startRotation } from './refresh-tokens.ts';
import { PresentedBefore } from './replay-detection.ts';
import { forget, type Known, type RequestMemo } from './request-memo.ts';
import { requestSource } from './request-source.ts';
import { endSession } from './session-end.ts';
import { findSession, findSessionByUid, retireSessionId, sessionEnded, upsertSession } from './session-store.ts';

/** Where clients come from; supplied by the clients feature. They are never stored from here. */
export type ClientStorage = {
  /** With `source` it is the client that asks: a document that is its metadata may have to be fetched. */
  find(clientId: string, source?: AuditSource): Promise<Payload | undefined>;
  markUsed(clientId: string): Promise<void>;
};

export type AdapterDependencies = {
  db: Database;
  encryption: Encryption;
  clients: ClientStorage;
  /** Seconds in which a rotated refresh token may be presented again. */
  refreshTokenLeewaySeconds: number;
  /** Without it everything is read when it is asked for. */
  memo?: RequestMemo;
  /** Has the logout tokens delivered that an end of a session queued; where nobody signs out there is none. */
  deliverLogouts?: () => void;
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
      case 'DeviceCode':
        return guarded({ ...artifactStore(model, dependencies), ...deviceStore(dependencies) });
      default:
        return guarded(artifactStore(model, dependencies));
    }
  };
}

/** What the revocation endpoint takes: with it goes the rest of its grant. */
const hasFamily = new Set(['AccessToken', 'RefreshToken']);

function artifactStore(model: string, dependencies: AdapterDependencies): Store {
  const { db, encryption, memo, refreshTokenLeewaySeconds } = dependencies;
  const leeway = () => ({ leewaySeconds: model === 'RefreshToken' ? leewayFor(refreshTokenLeewaySeconds) : 0 });
  return {
    async upsert(id, payload, expiresIn) {
      const artifact = { model, id, payload: storable(payload), expiresIn };
      if (model === 'Grant') {
        forget(memo?.known);
        return upsertGrant(db, encryption, artifact);
      }
      const usedId = model === 'RefreshToken' ? startedRotation(memo?.known) : undefined;
      if (usedId !== undefined) {
        if (!(await rotateArtifact(db, encryption, artifact, usedId, leeway()))) throw alreadyUsed(model);
        return;
      }
      if (model === 'AuthorizationCode' && typeof payload.sessionUid === 'string') {
        if (!(await insertArtifactOfSession(db, encryption, artifact, payload.sessionUid))) throw sessionEnded();
        return;
      }
      if (model !== 'ReplayDetection') return upsertArtifact(db, encryption, artifact);
      // The library looks first and stores then; of two at once only one may store (SECURITY 42, 43).
      if (!(await insertArtifact(db, encryption, artifact))) throw new PresentedBefore();
    },
    find: (id) =>
      model === 'Grant'
        ? findGrant(db, memo?.known, id)
        : findArtifact(db, memo?.known, model, id, leeway().leewaySeconds),
    async consume(id) {
      if (model === 'RefreshToken' && startRotation(memo?.known, id)) return;
      if (!(await consumeArtifact(db, model, id, leeway()))) throw alreadyUsed(model);
    },
    async destroy(id) {
      const known = memo?.known;
      forget(known);
      if (model === 'Grant' && known?.endingGrant) await revokeOnce(db, known, id);
      else await (hasFamily.has(model) ? deleteTokenFamily : deleteArtifact)(db, model, id);
    },
    revokeByGrantId: (grantId) => revokeOnce(db, memo?.known, grantId),
  };
}

/** The library asks for each model apart, and for the grant, at once: the first takes all, so that a crash leaves no half. */
async function revokeOnce(db: Database, known: Known | undefined, grantId: string): Promise<void> {
  forget(known);
  const revocation =
    known?.revocations.get(grantId) ??
    (known?.endingGrant ? deleteGrants(db, [grantId]) : deleteArtifactsOfGrant(db, grantId));
  known?.revocations.set(grantId, revocation);
  await revocation;
}

function deviceStore(dependencies: AdapterDependencies): Store {
  const codes = deviceCodeStore(dependencies);
  return { ...codes, upsert: (id, payload, expiresIn) => codes.upsert(id, storable(payload), expiresIn) };
}

function alreadyUsed(model: string): Error {
  if (model === 'PushedAuthorizationRequest') {
    return new errors.InvalidRequestUri('request_uri is invalid, expired, or was already used');
  }
  return new errors.InvalidGrant(`${model} was already used`);
}

function sessionStore({ db, memo, deliverLogouts }: AdapterDependencies): Store {
  return {
    upsert: (id, payload, expiresIn = 1) => upsertSession(db, memo?.known, id, storable(payload), expiresIn),
    find: (id) => findSession(db, memo?.known, id, askingClient()),
    findByUid: (uid) => findSessionByUid(db, memo?.known, uid),
    async destroy(id) {
      forget(memo?.known);
      await endSession(db, id, Provider.ctx && requestSource(Provider.ctx));
      deliverLogouts?.();
    },
    rename: (oldId) => retireSessionId(db, oldId),
  };
}

/** The client that an authorization request names, whose grant is asked for next. */
function askingClient(): string | undefined {
  const clientId = Provider.ctx?.query.client_id;
  return typeof clientId === 'string' && !unsearchable(clientId) ? clientId : undefined;
}

function interactionStore({ db, encryption }: AdapterDependencies): Store {
  return {
    upsert: (id, payload, expiresIn = 1) => upsertInteraction(db, encryption, id, storable(payload), expiresIn),
    find: (id) => findInteraction(db, encryption, id),
    destroy: (id) => finishInteraction(db, id),
  };
}

function clientStore({ clients }: AdapterDependencies): Store {
  return { find: createFindClient(clients) };
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
