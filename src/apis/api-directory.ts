/**
 * The APIs and their clients as token requests see them: from memory, where a change is known at once (db/notices.ts).
 * All APIs are kept together, for an operator registers each by hand and callers may name any.
 */
import { createCached } from '../db/cached.ts';
import type { Database } from '../db/database.ts';
import type { Notices } from '../db/notices.ts';
import { type Api, listApis } from './apis.ts';
import { type ClientApi, listAccessOfClient } from './client-access.ts';
import { type ExchangeMode, type ExchangePermission, listExchangePermissions } from './token-exchange-permissions.ts';

/** What a client may do at an API: the API, and of its scopes those that this client may ask for. */
export type ApiAccess = Pick<
  Api,
  'identifier' | 'name' | 'scopes' | 'tokenFormat' | 'signingAlg' | 'tokenLifetimeSeconds'
>;

export type ApiDirectory = {
  /**
   * What a client may do at the APIs named; others are left out.
   * @param forPerson whether a person decides about it, who may be asked by any client where the API says so
   */
  findAccess(
    clientId: string,
    identifiers: readonly string[],
    options?: { forPerson?: boolean },
  ): Promise<readonly ApiAccess[]>;
  /** The API that a client was allowed when there is just one. */
  findOnlyAccess(clientId: string): Promise<ApiAccess | undefined>;
  /** What these clients may do at an API; where any client may ask, those without a row have one without scopes. */
  findClientApis(identifier: string, clientIds: readonly string[]): Promise<readonly ClientApi[]>;
  /** The scopes that any client may ask people for. */
  listOpenScopes(): Promise<readonly string[]>;
  /** The ways in which a client may turn a token for one API into one for another. */
  findExchangeModes(exchange: Omit<ExchangePermission, 'mode'>): Promise<readonly ExchangeMode[]>;
};

export function createApiDirectory({ db, notices }: { db: Database; notices: Notices }): ApiDirectory {
  const allApis = createCached({
    notices,
    table: 'apis',
    load: async () => new Map((await listApis(db)).map((api) => [api.identifier, api])),
  });
  const accessOf = createCached({
    notices,
    table: 'client_apis',
    load: (clientId) => listAccessOfClient(db, clientId),
  });
  const permissionsOf = createCached({
    notices,
    table: 'token_exchange_permissions',
    load: (clientId) => listExchangePermissions(db, clientId),
  });

  async function look(clientId: string) {
    const [apis, rows] = await Promise.all([allApis.get('all'), accessOf.get(clientId)]);
    return { apis: apis ?? new Map<string, Api>(), rows: rows ?? [] };
  }

  return {
    async findAccess(clientId, identifiers, { forPerson = false } = {}) {
      if (identifiers.length === 0) return [];
      const { apis, rows } = await look(clientId);
      return [...new Set(identifiers)].flatMap((identifier) => {
        const api = apis.get(identifier);
        if (!api) return [];
        if (forPerson && api.anyClient) return [api];
        const row = rows.find(({ apiIdentifier }) => apiIdentifier === identifier);
        return row && getsTokens(row) ? [narrowed(api, row.scopes)] : [];
      });
    },

    async findOnlyAccess(clientId) {
      const { apis, rows } = await look(clientId);
      const [row, other] = rows.filter(getsTokens);
      const api = row && !other ? apis.get(row.apiIdentifier) : undefined;
      return api && row && narrowed(api, row.scopes);
    },

    async findClientApis(identifier, clientIds) {
      const api = (await allApis.get('all'))?.get(identifier);
      if (!api) return [];
      const found = await Promise.all(
        clientIds.map(async (clientId): Promise<ClientApi[]> => {
          const row = (await accessOf.get(clientId))?.find(({ apiIdentifier }) => apiIdentifier === identifier);
          if (row) return [row];
          return api.anyClient ? [{ clientId, apiIdentifier: identifier, scopes: [], mayIntrospect: false }] : [];
        }),
      );
      return found.flat();
    },

    async listOpenScopes() {
      const apis = [...((await allApis.get('all'))?.values() ?? [])];
      return apis.filter(({ anyClient }) => anyClient).flatMap(({ scopes }) => Object.keys(scopes));
    },

    async findExchangeModes({ clientId, subjectApi, targetApi }) {
      const permissions = (await permissionsOf.get(clientId)) ?? [];
      return permissions
        .filter((one) => one.subjectApi === subjectApi && one.targetApi === targetApi)
        .map(({ mode }) => mode);
    },
  };
}

/** The API's own side, which only asks about tokens, has a row without scopes. */
function getsTokens({ scopes, mayIntrospect }: ClientApi): boolean {
  return scopes.length > 0 || !mayIntrospect;
}

function narrowed(api: Api, granted: readonly string[]): ApiAccess {
  return {
    ...api,
    scopes: Object.fromEntries(Object.entries(api.scopes).filter(([scope]) => granted.includes(scope))),
  };
}
